// Blocks that come and go: reused by size, within a limit, never before the device and all who point to them are done.
#include "gpu/device_blocks.hpp"

#include <gtest/gtest.h>

#include "gpu/host_device.hpp"
#include "tests/gpu/device_tools.hpp"

using namespace longshore;

namespace {

class blocks : public testing::Test {
protected:
  static constexpr uint64_t page = device::alignment_bytes;

  uint64_t allocated_bytes() const { return target->counts().allocated.now; }

  /// Over when `open` says so.
  std::shared_ptr<const device_event> late_event() {
    stream = target->make_stream().value();
    gate = std::make_shared<std::promise<void>>();
    EXPECT_TRUE(target->when_over(stream, [wait = gate->get_future().share()](const auto&) { wait.wait(); }));
    return device_event::record(target, stream).value();
  }
  void open() {
    gate->set_value();
    EXPECT_TRUE(finish(*target, stream).has_value());
  }

  std::shared_ptr<host_device> target = std::make_shared<host_device>();
  device_blocks pool{target, 10 * page};
  stream_id stream = 0;
  std::shared_ptr<std::promise<void>> gate;
};

TEST_F(blocks, of_a_size_are_used_again) {
  auto first = pool.take(3 * page - 5);
  ASSERT_TRUE(first.has_value());
  const auto address = first->block->address();
  EXPECT_EQ(pool.bytes(), 3 * page);
  pool.give_back(std::move(*first));
  EXPECT_EQ(pool.idle_bytes(), 3 * page);
  EXPECT_EQ(pool.take(3 * page)->block->address(), address);
}

TEST_F(blocks, have_bytes_even_for_nothing) { EXPECT_EQ(pool.take(0)->block->bytes(), page); }

TEST_F(blocks, that_are_idle_go_before_the_limit_is_passed) {
  pool.give_back(*pool.take(6 * page));
  const auto other = pool.take(5 * page);
  ASSERT_TRUE(other.has_value());
  EXPECT_EQ(pool.bytes(), 5 * page);
  EXPECT_EQ(allocated_bytes(), 5 * page);
  const auto refused = pool.take(6 * page);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, errc::out_of_budget);
}

TEST_F(blocks, keep_what_they_wait_for) {
  auto taken = *pool.take(6 * page);
  taken.after.push_back(late_event());
  pool.give_back(std::move(taken));
  EXPECT_FALSE(pool.take(5 * page).has_value()) << "the device may still use the idle block";
  EXPECT_EQ(pool.next_to_be_over().size(), 1U);
  auto again = pool.take(6 * page);
  ASSERT_TRUE(again.has_value()) << "but copies can wait on the device";
  EXPECT_EQ(again->after.size(), 1U);
  pool.give_back(std::move(*again));
  pool.set_limit(0);
  EXPECT_EQ(allocated_bytes(), 6 * page);
  open();
  EXPECT_EQ(pool.free_idle(1), 6 * page);
  EXPECT_EQ(allocated_bytes(), 0U);
}

TEST_F(blocks, that_someone_points_to_count_and_are_not_used_again) {
  auto taken = *pool.take(6 * page);
  auto user = taken.block;
  const auto address = user->address();
  pool.give_back(std::move(taken));
  EXPECT_FALSE(pool.take(6 * page).has_value());
  pool.used_until(user, late_event());
  user.reset();
  const auto again = pool.take(6 * page);
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->block->address(), address);
  EXPECT_EQ(again->after.size(), 1U) << "what the user said is waited for";
  open();
}

TEST_F(blocks, make_room_where_the_device_has_none) {
  target = std::make_shared<host_device>(host_device_options{.capacity_bytes = 8 * page});
  device_blocks small{target, 100 * page};
  small.give_back(*small.take(6 * page));
  EXPECT_TRUE(small.take(8 * page).has_value());
  EXPECT_EQ(small.idle_bytes(), 0U);
}

}  // namespace
