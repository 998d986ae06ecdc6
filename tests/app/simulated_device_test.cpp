#include "app/simulate/simulated_device.hpp"

#include <gtest/gtest.h>

namespace longshore {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr uint64_t page_bytes = 4096;
constexpr uint64_t megabyte = 1'000'000;
constexpr uint64_t memory_bytes = 50 << 20;  // a multiple of the alignment

/// A device on a link of 1 GB/s, so that a megabyte takes a millisecond, and host memory that nobody looks into.
class simulated_device_test : public testing::Test {
protected:
  std::byte* host(uint64_t page = 0) { return reinterpret_cast<std::byte*>((uint64_t{1} << 30) + page * page_bytes); }

  stream_id stream() { return *target.make_stream(); }

  /// Notes when the stream gets there.
  std::shared_ptr<std::optional<milliseconds>> note(stream_id stream) {
    auto at = std::make_shared<std::optional<milliseconds>>();
    EXPECT_TRUE(target.when_over(stream, [this, at](const expected<void>& ran) {
      EXPECT_TRUE(ran);
      EXPECT_FALSE(*at);
      *at = std::chrono::duration_cast<milliseconds>(now - begin);
    }));
    return at;
  }

  void copy(stream_id stream, uint64_t bytes) { ASSERT_TRUE(target.copy_to_device(stream, host(), memory, bytes)); }

  void run() {
    while (const auto next = target.next()) {
      ASSERT_GE(*next, now);
      now = *next;
      target.run_until(now);
    }
  }

  const host_time begin{std::chrono::hours{1}};
  host_time now = begin;
  simulated_device target{{.capacity_bytes = 2 * memory_bytes,
                           .link_bytes_per_s = 1000 * megabyte,
                           .unpinned_bytes_per_s = 500 * megabyte,
                           .register_bytes_per_s = 4096 * megabyte,
                           .now = [this] { return now; }}};
  const device_address memory = *target.allocate(memory_bytes);
};

TEST_F(simulated_device_test, copies_of_all_streams_share_the_link) {
  ASSERT_TRUE(target.register_host(host(), 2500 * page_bytes));
  const auto a = stream(), b = stream();
  copy(a, 10 * megabyte);
  const auto a_over = note(a);
  copy(b, 5 * megabyte);
  const auto b_over = note(b);
  EXPECT_FALSE(*a_over) << "nothing happens within a call";
  run();
  EXPECT_EQ(*a_over, milliseconds{10});
  EXPECT_EQ(*b_over, milliseconds{15});
  EXPECT_EQ(target.copied_bytes(), 15 * megabyte);
  EXPECT_EQ(target.unpinned_copies(), 0U);
  ASSERT_EQ(target.turns().size(), 2U);
  EXPECT_EQ(target.turns()[0].end, target.turns()[1].begin);
}

TEST_F(simulated_device_test, memory_that_is_not_page_locked_is_copied_at_its_own_rate) {
  const auto s = stream();
  copy(s, 10 * megabyte);
  const auto over = note(s);
  run();
  EXPECT_EQ(*over, milliseconds{20});
  EXPECT_EQ(target.unpinned_copies(), 1U);
}

TEST_F(simulated_device_test, a_stream_waits_for_the_event_of_another) {
  ASSERT_TRUE(target.register_host(host(), 2500 * page_bytes));
  const auto a = stream(), b = stream();
  copy(a, 10 * megabyte);
  const auto mark = target.record_event(a);
  ASSERT_TRUE(mark);
  ASSERT_TRUE(target.wait_event(b, *mark));
  copy(b, megabyte);
  const auto b_over = note(b);
  copy(a, 2 * megabyte);
  const auto a_over = note(a);
  EXPECT_FALSE(*target.event_is_over(*mark));
  run();
  EXPECT_TRUE(*target.event_is_over(*mark));
  EXPECT_EQ(*a_over, milliseconds{12});
  EXPECT_EQ(*b_over, milliseconds{13});
}

TEST_F(simulated_device_test, a_destroyed_stream_still_runs_what_was_queued) {
  const auto s = stream();
  copy(s, megabyte);
  const auto over = note(s);
  target.destroy_stream(s);
  EXPECT_EQ(target.copy_to_device(s, host(), memory, 1).error().code, errc::bad_argument);
  run();
  EXPECT_TRUE(*over);
}

TEST_F(simulated_device_test, its_capacity_is_hard) {
  const auto too_much = target.allocate(memory_bytes + 1);
  ASSERT_FALSE(too_much);
  EXPECT_EQ(too_much.error().code, errc::out_of_budget);
  const auto rest = target.allocate(memory_bytes - 1);
  ASSERT_TRUE(rest);
  EXPECT_EQ(target.memory()->free_bytes, 0U) << "alignment counts";
  target.free(*rest);
  EXPECT_EQ(target.memory()->free_bytes, memory_bytes);
  EXPECT_EQ(target.allocated().most, 2 * memory_bytes);
}

TEST_F(simulated_device_test, copies_stay_within_allocations) {
  const auto s = stream();
  EXPECT_TRUE(target.copy_to_device(s, host(), memory + memory_bytes - 1, 1));
  EXPECT_EQ(target.copy_to_device(s, host(), memory + memory_bytes, 1).error().code, errc::bad_argument);
  EXPECT_EQ(target.copy_to_device(s, host(), memory - 1, 2).error().code, errc::bad_argument);
  const scatter_piece good{0, memory, 100}, bad{0, memory + memory_bytes - 99, 100};
  EXPECT_TRUE(target.scatter(s, memory, {&good, 1}));
  EXPECT_EQ(target.scatter(s, memory, {&bad, 1}).error().code, errc::bad_argument);
  run();
}

TEST_F(simulated_device_test, page_locking_is_counted_and_takes_its_callers_time) {
  ASSERT_TRUE(target.register_host(host(), 1000 * page_bytes));
  EXPECT_EQ(target.registered().now, 1000 * page_bytes);
  EXPECT_EQ(target.take_blocked_time(), milliseconds{1});
  EXPECT_EQ(target.take_blocked_time(), nanoseconds{0});
  EXPECT_FALSE(target.register_host(host(999), 2 * page_bytes)) << "it overlaps";
  EXPECT_EQ(target.copy_to_device(stream(), host(999), memory, 2 * page_bytes).error().code, errc::bad_argument)
      << "half of it is page-locked";
  const auto s = stream();
  copy(s, megabyte);
  EXPECT_FALSE(target.unregister_host(host())) << "a copy is in flight";
  run();
  EXPECT_TRUE(target.unregister_host(host()));
  EXPECT_EQ(target.registered().now, 0U);
  EXPECT_EQ(target.registered().most, 1000 * page_bytes);
}

TEST_F(simulated_device_test, has_no_bytes_to_show) {
  uint64_t sum = 0;
  std::byte byte{};
  const auto s = stream();
  EXPECT_EQ(target.checksum(s, memory, 1, &sum).error().code, errc::unsupported);
  EXPECT_EQ(target.copy_to_host(s, memory, &byte, 1).error().code, errc::unsupported);
}

}  // namespace
}  // namespace longshore
