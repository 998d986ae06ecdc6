// The machine's shortage becomes pressure and is over in time. One thread, virtual time, a machine that the test makes.
#include <algorithm>
#include <random>

#include <gmock/gmock.h>

#include "actors/pressure_monitor.hpp"
#include "gpu/host_device.hpp"
#include "io/trace_ring.hpp"
#include "messages/pressure.hpp"
#include "tests/actors/pin_world.hpp"
#include "tests/io/system_tree.hpp"

namespace longshore {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

constexpr uint64_t machine_bytes = 10'000;
constexpr pin_limits plenty{.host_limit_bytes = 8000, .pin_limit_bytes = 4000, .hysteresis_bytes = 0};
// Of 10,000 bytes: low 1000, slack 500.
const pressure_monitor_options watchful{.interval = milliseconds{100},
                                        .settings = {.min_low_bytes = 1000, .repeat_after = milliseconds{1000}}};

/// A machine whose memory goes to the owners of a world and to others outside.
memory_level machine_with(const pin_world& world, uint64_t outside_bytes) {
  const auto used = outside_bytes + static_cast<uint64_t>(world.host_bytes);
  return {.name = "machine",
          .limit_bytes = machine_bytes,
          .available_bytes = machine_bytes - std::min(machine_bytes, used),
          .over_bytes = used - std::min(machine_bytes, used)};
}

/// Such a machine, and a monitor that watches it.
class monitors : public testing::Test {
protected:
  void start(const caf::actor& registry = {}, const pressure_monitor_options& options = watchful) {
    monitor = spawn_pressure_monitor(world.system, [this] { return sample(); }, world.arbiter, {registry}, options);
    world.run();
  }

  void TearDown() override { caf::anon_send_exit(monitor, caf::exit_reason::user_shutdown); }

  uint64_t available_bytes() const { return machine_with(world, outside_bytes).available_bytes; }

  memory_sample sample() {
    ++samples;
    return {.host = {machine_with(world, outside_bytes)}, .device = device_level, .problem = problem};
  }

  pin_world::owner_ptr owner_with(pin_class cls, uint64_t bytes, temper nature = temper::honest) {
    auto made = world.add(nature, cls, "owner");
    world.ask(made, {.host_bytes = bytes, .pinned_bytes = 0});
    world.run();
    EXPECT_EQ(made->blocks.size(), 1U);
    return made;
  }

  pressure_status status() {
    auto found = std::make_shared<pressure_status>();
    world.system.spawn([=, this](caf::event_based_actor* self) {
      self->request(monitor, caf::infinite, show_pressure{}).then([=](const pressure_status& s) { *found = s; });
    });
    world.run();
    return *found;
  }

  /// One who hears what the device wants back.
  caf::actor device_listener() {
    return world.system.spawn([this](caf::event_based_actor*) -> caf::behavior {
      return {[this](const device_pressure& message) { device_wishes.push_back(message.wanted_bytes); }};
    });
  }

  uint64_t outside_bytes = 0;
  std::optional<memory_level> device_level;
  error problem;
  uint64_t samples = 0;
  std::vector<uint64_t> device_wishes;
  pin_world world{plenty};
  caf::actor monitor;
};

TEST_F(monitors, sample_at_once_and_then_at_each_interval) {
  start();
  EXPECT_EQ(samples, 1U);
  world.advance(milliseconds{99});
  EXPECT_EQ(samples, 1U);
  for (int i = 0; i < 5; ++i)
    world.advance(milliseconds{100});
  EXPECT_EQ(samples, 6U);
  EXPECT_EQ(status().samples, 6U);
  EXPECT_EQ(status().host.times, 0U);
}

TEST_F(monitors, ask_back_what_nobody_needs_within_one_interval) {
  const auto image = owner_with(pin_class::inactive_intermediate, 2000);
  const auto model = owner_with(pin_class::inactive_model, 2000);
  const auto used = owner_with(pin_class::active_model, 2000);
  start();
  outside_bytes = 3500;
  world.advance(milliseconds{100});
  EXPECT_THAT(image->blocks, IsEmpty());
  EXPECT_EQ(model->blocks.size(), 1U) << "the image was enough";
  EXPECT_EQ(available_bytes(), 2500U);
  const auto shown = status();
  EXPECT_EQ(shown.host.times, 1U);
  EXPECT_EQ(shown.host.last_bytes, 1000U);
  EXPECT_THAT(shown.host.last_why, HasSubstr("machine"));
  EXPECT_EQ(shown.latest.host.at(0).available_bytes, 500U) << "of the sample that made it ask";
  world.advance(milliseconds{100});
  outside_bytes = 5500;
  world.advance(milliseconds{100});
  EXPECT_THAT(model->blocks, IsEmpty());
  outside_bytes = 8000;
  world.advance(milliseconds{100});
  EXPECT_EQ(used->blocks.size(), 1U) << "someone uses it";
}

TEST_F(monitors, do_not_ask_twice_for_what_is_on_its_way) {
  const auto silent = owner_with(pin_class::inactive_intermediate, 3000, temper::silent);
  const auto model = owner_with(pin_class::inactive_model, 3000);
  start();
  outside_bytes = 3500;
  for (int i = 0; i < 30; ++i)
    world.advance(milliseconds{100});
  EXPECT_EQ(silent->pressures.size(), 1U);
  EXPECT_EQ(model->pressures.size(), 0U) << "what is on its way is enough";
  EXPECT_EQ(status().host.times, 3U) << "at once, and after each second";
}

TEST_F(monitors, ask_the_next_when_the_first_declines) {
  const auto declining = owner_with(pin_class::inactive_intermediate, 3000, temper::declining);
  const auto model = owner_with(pin_class::inactive_model, 3000);
  start();
  outside_bytes = 3500;
  world.advance(milliseconds{100});
  EXPECT_EQ(declining->pressures.size(), 1U);
  EXPECT_EQ(model->blocks.size(), 1U);
  world.advance(milliseconds{1000});
  EXPECT_EQ(declining->pressures.size(), 1U);
  EXPECT_THAT(model->blocks, IsEmpty());
}

TEST_F(monitors, ask_who_declined_again_after_a_while) {
  const auto declining = owner_with(pin_class::inactive_intermediate, 3000, temper::declining);
  start();
  outside_bytes = 6500;
  for (int i = 0; i < 10; ++i)
    world.advance(milliseconds{100});
  EXPECT_EQ(declining->pressures.size(), 1U);
  declining->nature = temper::honest;
  world.advance(milliseconds{100});
  EXPECT_THAT(declining->blocks, IsEmpty());
}

TEST_F(monitors, judge_by_the_time_that_really_passed) {
  const auto declining = owner_with(pin_class::inactive_intermediate, 3000, temper::declining);
  start();
  outside_bytes = 6500;
  world.advance(milliseconds{100});
  world.advance(milliseconds{1500});
  EXPECT_EQ(declining->pressures.size(), 2U);
}

TEST_F(monitors, tell_the_registry_what_the_device_wants_back) {
  const auto registry = device_listener();
  device_level = {.name = "device", .limit_bytes = machine_bytes, .available_bytes = 2000};
  start(registry);
  EXPECT_THAT(device_wishes, IsEmpty());
  device_level->available_bytes = 900;
  world.advance(milliseconds{100});
  EXPECT_THAT(device_wishes, ElementsAre(600U));
  EXPECT_EQ(status().device.times, 1U);
  EXPECT_EQ(status().host.times, 0U);
  caf::anon_send_exit(registry, caf::exit_reason::kill);
  device_level->available_bytes = 100;
  world.advance(milliseconds{100});
  EXPECT_EQ(status().samples, 3U) << "nobody hears it any more";
}

TEST_F(monitors, go_on_when_a_source_makes_no_sense) {
  const auto image = owner_with(pin_class::inactive_intermediate, 2000);
  start();
  problem = {.code = errc::bad_format, .what = "is no pressure stall information"};
  outside_bytes = 7500;
  world.advance(milliseconds{100});
  EXPECT_THAT(image->blocks, IsEmpty());
  problem = {};
  world.advance(milliseconds{100});
  const auto shown = status();
  EXPECT_EQ(shown.bad_samples, 1U);
  EXPECT_EQ(shown.latest.problem.code, errc{});
}

TEST_F(monitors, go_on_when_the_arbiter_is_gone) {
  start();
  caf::anon_send_exit(world.arbiter, caf::exit_reason::kill);
  world.run();
  outside_bytes = 9500;
  world.advance(milliseconds{100});
  EXPECT_EQ(status().host.times, 1U);
  world.arbiter = spawn_pin_arbiter(world.system, plenty);  // what the world ends with
}

TEST_F(monitors, leave_the_pressure_in_the_trace) {
  auto& rings = tracer_rings::process();
  std::vector<std::pair<std::string, uint64_t>> seen;
  const auto take = [&] {
    rings.drain([&](const trace_record& record, trace_name_id) {
      if (record.kind == trace_kind::instant || record.kind == trace_kind::counter)
        seen.emplace_back(rings.names().text(record.name), record.value);
    });
  };
  rings.enable();
  take();
  seen.clear();
  device_level = {.name = "device", .limit_bytes = machine_bytes, .available_bytes = 900};
  outside_bytes = 9400;
  start(device_listener());
  take();
  rings.disable();
  EXPECT_THAT(seen, ElementsAre(Pair("available host bytes", 600U), Pair("available device bytes", 900U),
                                Pair("memory pressure", 900U), Pair("device memory pressure", 600U)));
}

TEST_F(monitors, watch_a_real_machine_and_a_device) {
  system_tree tree;
  tree.write("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 900 kB\n");
  const auto source = memory_pressure_source::find(tree.root());
  ASSERT_TRUE(source) << to_text(source.error());
  const auto target = std::make_shared<host_device>(host_device_options{.capacity_bytes = 1 << 20});
  const auto taken = target->allocate(1 << 19);
  ASSERT_TRUE(taken) << to_text(taken.error());
  const auto found = sampler_of(*source, target)();
  EXPECT_EQ(found.host.at(0).available_bytes, 900U * 1024);
  ASSERT_TRUE(found.device);
  EXPECT_EQ(found.device->limit_bytes, 1U << 20);
  EXPECT_EQ(found.device->available_bytes, 1U << 19);
  EXPECT_FALSE(sampler_of(*source)().device);
  target->free(*taken);
}

/// Memory comes and goes inside and outside; soon after each change enough is available, or nobody has any left that
/// could be asked for. The ledger's own limit is far away, so that nobody waits who would take what comes back.
void random_history(uint64_t seed) {
  std::mt19937_64 random{seed};
  pin_world world{{.host_limit_bytes = 1'000'000, .pin_limit_bytes = 0}};
  uint64_t outside_bytes = 0;
  const auto monitor = spawn_pressure_monitor(
      world.system, [&] { return memory_sample{.host = {machine_with(world, outside_bytes)}}; }, world.arbiter, {},
      watchful);
  for (int i = 0; i < 5; ++i)
    world.add(temper::honest, static_cast<pin_class>(random() % 5), "owner " + std::to_string(i));
  for (int step = 0; step < 15 && !testing::Test::HasFatalFailure(); ++step) {
    outside_bytes = random() % machine_bytes;
    for (const auto& who : world.owners)
      if (random() % 2 == 0)
        world.ask(who, {.host_bytes = 1 + random() % 1500, .pinned_bytes = 0});
    for (int i = 0; i < 25; ++i)
      world.advance(milliseconds{100});
    const bool some_left = std::any_of(world.owners.begin(), world.owners.end(), [](const auto& who) {
      return who->cls >= pin_class::inactive_model && !who->blocks.empty();
    });
    EXPECT_TRUE(machine_with(world, outside_bytes).available_bytes >= 1000 || !some_left) << "step " << step;
  }
  caf::anon_send_exit(monitor, caf::exit_reason::user_shutdown);
  world.run();
}

TEST(pressure, is_over_soon_whatever_comes_and_goes) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    random_history(seed);
    ASSERT_FALSE(testing::Test::HasFailure());
  }
}

}  // namespace
}  // namespace longshore
