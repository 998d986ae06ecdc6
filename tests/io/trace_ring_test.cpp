#include "io/trace_ring.hpp"

#include <deque>
#include <map>
#include <set>
#include <thread>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

using namespace longshore;

namespace {

constexpr uint64_t for_ever_ns = UINT64_MAX;

trace_record numbered(uint64_t number) {
  return {.start_ns = number, .span = number, .value = number * 3, .detail = ~number, .kind = trace_kind::disk_op};
}

/// The process's recorder, emptied before and after: it outlives each test.
class recorder : public testing::Test {
protected:
  void SetUp() override { discard(); }
  void TearDown() override {
    rings.disable();
    discard();
  }
  void discard() {
    rings.drain([](const trace_record&, trace_name_id) {}, for_ever_ns);
  }

  std::vector<uint64_t> drained_spans(uint64_t until_ns = for_ever_ns) {
    std::vector<uint64_t> spans;
    rings.drain([&](const trace_record& record, trace_name_id) { spans.push_back(record.span); }, until_ns);
    return spans;
  }

  tracer_rings& rings = tracer_rings::process();
};

}  // namespace

RC_GTEST_PROP(trace_ring, is_a_bounded_queue_that_counts_what_it_refuses, ()) {
  trace_ring ring{*rc::gen::inRange<size_t>(1, 9), 0};
  std::deque<uint64_t> expected_spans;
  uint64_t next = 1, dropped = 0;
  for (auto put : *rc::gen::container<std::vector<bool>>(rc::gen::arbitrary<bool>())) {
    if (put) {
      const bool room = expected_spans.size() < ring.capacity();
      RC_ASSERT(ring.put(numbered(next)) == room);
      room ? expected_spans.push_back(next) : void(++dropped);
      ++next;
    } else {
      const auto until = *rc::gen::inRange<uint64_t>(0, next + 1);
      const auto taken = ring.take(until, [&](const trace_record& record) {
        RC_ASSERT(record.span == expected_spans.front() && record.span <= until);
        RC_ASSERT(record.value == record.span * 3 && record.detail == ~record.span);
        expected_spans.pop_front();
      });
      RC_ASSERT(taken == 0u || expected_spans.empty() || expected_spans.front() > until);
    }
    RC_ASSERT(ring.dropped() == dropped && ring.empty() == expected_spans.empty());
  }
}

TEST(trace_ring, capacity_is_the_next_power_of_two) {
  EXPECT_EQ(trace_ring(0, 0).capacity(), 1u);
  EXPECT_EQ(trace_ring(5, 0).capacity(), 8u);
  EXPECT_EQ(trace_ring(8, 0).capacity(), 8u);
}

TEST(trace_names, interns_each_text_once_and_gives_the_common_name_when_full) {
  trace_names names{2, 1};
  const auto read = names.intern("read");
  const auto write = names.intern("write");
  EXPECT_NE(read, write);
  EXPECT_EQ(names.intern("read"), read);
  EXPECT_EQ(names.text(read), "read");
  EXPECT_EQ(names.intern("one too many"), 0);
  EXPECT_EQ(names.text(0), "(other)");
  EXPECT_EQ(names.text(999), "(other)");
}

TEST(trace_names, subjects_have_the_name_given_or_their_number) {
  trace_names names{8, 1};
  EXPECT_EQ(names.subject_name(trace_subject::actor, 7), "actor 7");
  EXPECT_EQ(names.subject_name(trace_subject::load, 7), "load 7");
  EXPECT_EQ(names.subject_name(trace_subject::file, 0), "other files");
  names.name_subject(trace_subject::actor, 7, "cache_registry");
  names.name_subject(trace_subject::actor, 8, "one too many");
  EXPECT_EQ(names.subject_name(trace_subject::actor, 7), "cache_registry");
  EXPECT_EQ(names.subject_name(trace_subject::load, 7), "load 7") << "another sort with the same number";
  EXPECT_EQ(names.subject_name(trace_subject::actor, 8), "actor 8");
  names.name_subject(trace_subject::actor, 7, "renamed");
  EXPECT_EQ(names.subject_name(trace_subject::actor, 7), "renamed") << "renaming needs no room";
}

TEST(trace_spans, are_never_given_twice_by_any_thread) {
  constexpr size_t threads = 4, each = 5000;
  std::vector<std::vector<trace_span_id>> taken(threads);
  {
    std::vector<std::jthread> running;
    for (auto& mine : taken)
      running.emplace_back([&mine] {
        for (size_t i = 0; i < each; ++i)
          mine.push_back(next_span());
      });
  }
  std::set<trace_span_id> all;
  for (const auto& mine : taken)
    all.insert(mine.begin(), mine.end());
  EXPECT_EQ(all.size(), threads * each);
  EXPECT_FALSE(all.contains(0));
}

TEST_F(recorder, keeps_nothing_while_disabled) {
  EXPECT_FALSE(tracer_rings::enabled());
  rings.put(numbered(1));
  EXPECT_TRUE(drained_spans().empty());
  rings.enable();
  EXPECT_TRUE(tracer_rings::enabled());
  rings.put(numbered(2));
  EXPECT_EQ(drained_spans(), std::vector<uint64_t>{2});
}

TEST_F(recorder, leaves_what_ended_after_the_given_time_for_the_next_drain) {
  rings.enable();
  rings.put(numbered(10));
  rings.put({.start_ns = 11, .duration_ns = 9, .span = 20});
  rings.put(numbered(30));
  EXPECT_EQ(drained_spans(19), std::vector<uint64_t>{10});
  EXPECT_EQ(drained_spans(20), std::vector<uint64_t>{20});
  EXPECT_EQ(drained_spans(), std::vector<uint64_t>{30});
}

TEST_F(recorder, keeps_the_records_of_ended_threads_with_the_threads_name) {
  rings.enable();
  std::thread{[&] {
    rings.name_thread("worker one");
    rings.put(numbered(41));
    rings.name_thread("worker renamed");
  }}.join();
  std::thread{[&] { rings.put(numbered(42)); }}.join();
  std::map<uint64_t, std::string> threads;
  rings.drain(
      [&](const trace_record& record, trace_name_id thread) { threads[record.span] = rings.names().text(thread); },
      for_ever_ns);
  EXPECT_EQ(threads.size(), 2u);
  EXPECT_EQ(threads[41], "worker renamed");
  EXPECT_NE(threads[42].find('#'), std::string::npos) << threads[42];
}

TEST_F(recorder, threads_past_the_limit_get_no_ring_until_an_ended_one_is_drained) {
  rings.enable({.ring_records = 8, .max_rings = 2});
  const auto before = rings.dropped();
  const auto put_in_new_threads = [&](uint64_t count) {
    for (uint64_t span = 1; span <= count; ++span)
      std::thread{[&, span] { rings.put(numbered(span)); }}.join();
  };
  put_in_new_threads(20);  // this thread may hold a place from an earlier test
  const auto kept = drained_spans().size();
  EXPECT_TRUE(kept == 1 || kept == 2) << kept;
  EXPECT_EQ(rings.dropped() - before, 20 - kept);
  put_in_new_threads(1);
  EXPECT_EQ(drained_spans(), std::vector<uint64_t>{1}) << "the drained place is free again";
}

TEST_F(recorder, counts_drops_of_rings_that_are_gone) {
  rings.enable({.ring_records = 4});
  const auto before = rings.dropped();
  std::thread{[&] {
    for (uint64_t span = 1; span <= 10; ++span)
      rings.put(numbered(span));
  }}.join();
  EXPECT_EQ(rings.dropped() - before, 6u);
  EXPECT_EQ(drained_spans(), (std::vector<uint64_t>{1, 2, 3, 4}));
  EXPECT_EQ(rings.dropped() - before, 6u) << "after its ring was freed";
}

TEST_F(recorder, loses_nothing_uncounted_between_many_producers_and_one_drainer) {
  constexpr uint64_t producers = 4, each = 30000;
  rings.enable({.ring_records = 256});
  const auto before = rings.dropped();
  std::atomic<uint64_t> finished{0};
  std::vector<std::jthread> running;
  for (uint64_t producer = 1; producer <= producers; ++producer)
    running.emplace_back([&, producer] {
      for (uint64_t i = 1; i <= each; ++i)
        rings.put(numbered(producer << 32 | i));
      finished.fetch_add(1);
    });
  std::map<uint64_t, uint64_t> last;  // by producer: what it put comes out in that order, whole
  uint64_t taken = 0;
  const auto check = [&](const trace_record& record, trace_name_id) {
    EXPECT_EQ(record.value, record.span * 3);
    EXPECT_LT(last[record.span >> 32], record.span);
    last[record.span >> 32] = record.span;
    ++taken;
  };
  while (finished.load() != producers)
    rings.drain(check, for_ever_ns);
  running.clear();
  rings.drain(check, for_ever_ns);
  EXPECT_EQ(taken + (rings.dropped() - before), producers * each);
  EXPECT_EQ(last.size(), producers);
}
