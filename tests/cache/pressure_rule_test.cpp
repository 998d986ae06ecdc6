// How many bytes shall come back: tables of samples, and what holds in any history.
#include "cache/pressure_rule.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

using namespace longshore;
using std::chrono::milliseconds;
using testing::HasSubstr;

namespace {

constexpr uint64_t mib = uint64_t{1} << 20;
constexpr uint64_t gib = uint64_t{1} << 30;
constexpr milliseconds tick{100};

// Of 16 GiB with these settings: low 512 MiB, soft 1536 MiB, slack 256 MiB.
constexpr pressure_settings usual{.min_low_bytes = 512 * mib, .repeat_after = milliseconds{1000}};

memory_level level_with(uint64_t available_bytes, memory_stall stall = {}, memory_events events = {}) {
  return {.name = "physical memory",
          .limit_bytes = 16 * gib,
          .available_bytes = available_bytes,
          .stall = stall,
          .events = events};
}

uint64_t host_wish(pressure_rule& rule, const memory_level& level, milliseconds passed = tick) {
  return rule.judge({.host = {level}}, passed).host.wanted_bytes;
}

TEST(pressure_marks, are_a_share_of_the_limit_with_a_floor_and_a_ceiling) {
  EXPECT_EQ(marks_of(100 * gib, {}).low_bytes, 3 * gib);
  EXPECT_EQ(marks_of(4 * gib, {}).low_bytes, 256 * mib) << "the floor";
  EXPECT_EQ(marks_of(512 * mib, {}).low_bytes, 64 * mib) << "never more than an eighth";
  EXPECT_EQ(marks_of(0, {}).low_bytes, 0U);
  const auto marks = marks_of(16 * gib, usual);
  EXPECT_EQ(marks.low_bytes, 512 * mib);
  EXPECT_EQ(marks.soft_bytes, 1536 * mib);
  EXPECT_EQ(marks.slack_bytes, 256 * mib);
}

/// One sample after a first one with plenty of memory and counters of 10 each.
struct second_sample {
  const char* what;
  uint64_t available_bytes;
  memory_stall stall;
  memory_events events;
  uint64_t wanted_bytes;
};

class pressure_table : public testing::TestWithParam<second_sample> {};

TEST_P(pressure_table, says_what_shall_come_back) {
  const auto& row = GetParam();
  pressure_rule rule{usual};
  ASSERT_EQ(host_wish(rule, level_with(8 * gib, {0.0, 10}, {10, 10, 10})), 0U);
  EXPECT_EQ(host_wish(rule, level_with(row.available_bytes, row.stall, row.events)), row.wanted_bytes) << row.what;
}

constexpr memory_stall still{0.0, 10}, stalls{0.10, 11}, stalls_little{0.09, 11}, stalled{0.90, 10};
constexpr memory_events quiet{10, 10, 10}, high{11, 10, 10}, max{10, 11, 10}, oom{10, 10, 11};

INSTANTIATE_TEST_SUITE_P(all, pressure_table,
                         testing::Values(second_sample{"plenty", 8 * gib, still, quiet, 0},
                                         second_sample{"at the low mark", 512 * mib, still, quiet, 0},
                                         second_sample{"just below it", 512 * mib - 1, still, quiet, 256 * mib + 1},
                                         second_sample{"nothing left", 0, still, quiet, 768 * mib},
                                         second_sample{"stalls with plenty", 8 * gib, stalls, quiet, 0},
                                         second_sample{"stalls at the soft mark", 1536 * mib, stalls, quiet, 0},
                                         second_sample{"stalls below it", 1536 * mib - 1, stalls, quiet, 256 * mib + 1},
                                         second_sample{"stalls below the low mark", 500 * mib, stalls, quiet,
                                                       1292 * mib},
                                         second_sample{"few stalls", 600 * mib, stalls_little, quiet, 0},
                                         second_sample{"stalls that are over", 600 * mib, stalled, quiet, 0},
                                         second_sample{"memory.high met with plenty", 8 * gib, still, high, 0},
                                         second_sample{"memory.high met", 600 * mib, still, high, 1192 * mib},
                                         second_sample{"the limit met with plenty", 8 * gib, still, max, 0},
                                         second_sample{"the limit met", 600 * mib, still, max, 1192 * mib},
                                         second_sample{"out of memory with plenty", 8 * gib, still, oom, 256 * mib},
                                         second_sample{"out of memory", 600 * mib, still, oom, 1192 * mib}));

TEST(pressure_rule, wants_back_what_is_used_beyond_the_limit_too) {
  pressure_rule rule{usual};
  auto level = level_with(0);
  level.over_bytes = 100 * mib;
  EXPECT_EQ(host_wish(rule, level), 868 * mib);
  level = level_with(768 * mib);
  EXPECT_EQ(host_wish(rule, level), 0U) << "all of it came";
}

TEST(pressure_rule, knows_nothing_of_counters_before_its_first_sample) {
  pressure_rule rule{usual};
  EXPECT_EQ(host_wish(rule, level_with(600 * mib, {0.9, 1000}, {5, 5, 5})), 0U);
  EXPECT_EQ(host_wish(rule, level_with(600 * mib, {0.9, 1000}, {5, 5, 5})), 0U) << "they stand still";
}

TEST(pressure_rule, asks_once_and_again_when_time_has_passed) {
  pressure_rule rule{usual};
  EXPECT_EQ(host_wish(rule, level_with(500 * mib)), 268 * mib);
  for (int i = 1; i < 10; ++i)
    EXPECT_EQ(host_wish(rule, level_with(500 * mib)), 0U) << i;
  EXPECT_EQ(host_wish(rule, level_with(500 * mib)), 268 * mib);
}

TEST(pressure_rule, asks_at_once_for_a_quarter_more) {
  pressure_rule rule{usual};
  EXPECT_EQ(host_wish(rule, level_with(368 * mib)), 400 * mib);
  EXPECT_EQ(host_wish(rule, level_with(268 * mib)), 0U) << "500 MiB, not yet more than a quarter";
  EXPECT_EQ(host_wish(rule, level_with(267 * mib)), 501 * mib);
  EXPECT_EQ(host_wish(rule, level_with(266 * mib)), 0U);
}

TEST(pressure_rule, asks_at_once_when_what_came_is_gone_again) {
  pressure_rule rule{usual};
  EXPECT_EQ(host_wish(rule, level_with(500 * mib)), 268 * mib);
  EXPECT_EQ(host_wish(rule, level_with(768 * mib)), 0U) << "all of it came";
  EXPECT_EQ(host_wish(rule, level_with(500 * mib)), 268 * mib);
  EXPECT_EQ(host_wish(rule, level_with(767 * mib)), 0U) << "not all of it";
  EXPECT_EQ(host_wish(rule, level_with(500 * mib)), 0U);
}

TEST(pressure_rule, does_not_ask_while_what_comes_is_between_the_marks) {
  pressure_rule rule{usual};
  EXPECT_EQ(host_wish(rule, level_with(100 * mib)), 668 * mib);
  for (int i = 0; i < 50; ++i)
    EXPECT_EQ(host_wish(rule, level_with(513 * mib)), 0U);
}

TEST(pressure_rule, takes_the_worst_of_all_levels_and_says_which) {
  pressure_rule rule{usual};
  memory_sample sample{.host = {level_with(500 * mib), level_with(400 * mib), level_with(8 * gib)}};
  sample.host[1].name = "cgroup v2 /a";
  const auto wish = rule.judge(sample, tick).host;
  EXPECT_EQ(wish.wanted_bytes, 368 * mib);
  EXPECT_THAT(wish.why, HasSubstr("cgroup v2 /a: 400 MiB"));
}

TEST(pressure_rule, compares_levels_by_their_names) {
  pressure_rule rule{usual};
  auto cgroup = level_with(600 * mib, {}, {5, 5, 5});
  cgroup.name = "cgroup v2 /a";
  rule.judge({.host = {level_with(8 * gib, {}, {1, 1, 1}), cgroup}}, tick);
  EXPECT_EQ(rule.judge({.host = {cgroup}}, tick).host.wanted_bytes, 0U) << "its counters stand still";
}

TEST(pressure_rule, judges_the_device_apart) {
  pressure_rule rule{usual};
  const auto wishes = rule.judge({.host = {level_with(8 * gib)}, .device = level_with(500 * mib)}, tick);
  EXPECT_EQ(wishes.host.wanted_bytes, 0U);
  EXPECT_EQ(wishes.device.wanted_bytes, 268 * mib);
  const auto later = rule.judge({.host = {level_with(500 * mib)}, .device = level_with(500 * mib)}, tick);
  EXPECT_EQ(later.host.wanted_bytes, 268 * mib) << "what the device was asked for does not silence the host";
  EXPECT_EQ(later.device.wanted_bytes, 0U);
}

TEST(pressure_rule, has_no_word_for_a_system_that_tells_nothing) {
  pressure_rule rule{usual};
  const auto wishes = rule.judge({}, tick);
  EXPECT_EQ(wishes.host.wanted_bytes, 0U);
  EXPECT_EQ(wishes.device.wanted_bytes, 0U);
}

template <class T>
T from_range(T first, T end) {
  return *rc::gen::resize(rc::kNominalSize, rc::gen::inRange<T>(first, end));
}

/// What must hold of any wish, said without the rule's own arithmetic of marks.
void check(const memory_level& level, uint64_t wanted, const pressure_settings& settings, bool strained, bool out) {
  const auto marks = marks_of(level.limit_bytes, settings);
  if (level.available_bytes >= (strained ? marks.soft_bytes : marks.low_bytes) && !out)
    RC_ASSERT(wanted == 0U);
  if (wanted == 0)
    return;
  RC_ASSERT(wanted >= marks.slack_bytes);
  RC_ASSERT(wanted <= level.limit_bytes);
  if (!out)
    RC_ASSERT(level.available_bytes + wanted <= marks.soft_bytes + marks.slack_bytes);
}

RC_GTEST_PROP(pressure_rule, any_history_gets_wishes_in_bounds_and_none_too_often, ()) {
  const pressure_settings settings{.min_low_bytes = from_range<uint64_t>(0, 4000),
                                   .low_percent = from_range(0U, 101U),
                                   .soft_factor = from_range(1U, 8U),
                                   .repeat_after = milliseconds{from_range(0, 2000)}};
  pressure_rule rule{settings};
  memory_level level{.name = "m", .limit_bytes = from_range<uint64_t>(0, 100'000)};
  level.stall.emplace();
  level.events.emplace();
  milliseconds short_for{0};
  bool first = true;
  const auto steps = from_range(1, 60);
  for (int i = 0; i < steps; ++i) {
    const milliseconds passed{from_range(0, 500)};
    const auto before = level;
    level.available_bytes = from_range<uint64_t>(0, level.limit_bytes + 1);
    level.stall->share = from_range(0, 100) / 100.0;
    level.stall->total_us += from_range<uint64_t>(0, 3);
    for (auto* counter : {&level.events->high, &level.events->max, &level.events->oom})
      *counter += from_range(0, 4) == 0 ? 1 : 0;
    const auto wanted = host_wish(rule, level, passed);
    const bool out = !first && level.events->oom > before.events->oom;
    check(level, wanted, settings, !first, out);
    const auto low = marks_of(level.limit_bytes, settings).low_bytes;
    short_for = level.available_bytes < low && wanted == 0 ? short_for + passed : milliseconds{0};
    RC_ASSERT(short_for <= settings.repeat_after + milliseconds{500});
    first = false;
  }
}

RC_GTEST_PROP(pressure_rule, a_machine_that_gives_what_it_is_asked_for_is_asked_once_for_each_fall, ()) {
  pressure_rule rule;
  auto level = level_with(16 * gib);
  const auto low = marks_of(level.limit_bytes).low_bytes;
  const auto steps = from_range(1, 60);
  for (int i = 0; i < steps; ++i) {
    level.available_bytes -= std::min(level.available_bytes, from_range<uint64_t>(0, 2 * gib));
    const bool fell = level.available_bytes < low;
    const auto wanted = host_wish(rule, level);
    RC_ASSERT((wanted > 0) == fell);
    level.available_bytes += wanted;
    RC_ASSERT(level.available_bytes >= low);
    RC_ASSERT(host_wish(rule, level) == 0U);
  }
}

}  // namespace
