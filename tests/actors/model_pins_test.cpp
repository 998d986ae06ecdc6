// Which segments of an arena are page-locked, asked for and refused.
#include "actors/model_pins.hpp"

#include <gtest/gtest.h>

#include "gpu/host_device.hpp"
#include "io/arena.hpp"

namespace longshore {
namespace {

constexpr uint64_t segment_bytes = 4 << 20;

class pins_of_ten_mebibytes : public testing::Test {
protected:
  std::shared_ptr<const pinned_range> lock(size_t segment) {
    auto made = pinned_range::make(target, memory.data() + pins.offset_bytes(segment), pins.length_bytes(segment),
                                   nullptr, nullptr);
    EXPECT_TRUE(made.has_value()) << to_text(made.error());
    return made.value_or(nullptr);
  }
  void pin(size_t segment) {
    pins.ask(segment);
    pins.pinned(segment, lock(segment));
  }

  std::shared_ptr<host_device> target = std::make_shared<host_device>();
  arena memory = *arena_pool::make(uint64_t{10} << 20, 0)->acquire(uint64_t{10} << 20);
  model_pins pins{memory.size_bytes(), segment_bytes};
};

TEST_F(pins_of_ten_mebibytes, have_a_last_segment_that_is_shorter) {
  EXPECT_EQ(pins.segments(), 3U);
  EXPECT_EQ(pins.length_bytes(2), uint64_t{2} << 20);
  EXPECT_EQ(pins.segment_at(segment_bytes - 1), 0U);
  EXPECT_EQ(pins.segment_at(segment_bytes), 1U);
}

TEST_F(pins_of_ten_mebibytes, lend_only_what_one_lock_covers) {
  pin(0);
  EXPECT_TRUE(pins.is_decided(0, segment_bytes));
  EXPECT_NE(pins.lock_of(0, segment_bytes), nullptr);
  EXPECT_FALSE(pins.is_decided(0, segment_bytes + 1));
  pin(1);
  EXPECT_TRUE(pins.is_decided(0, segment_bytes + 1));
  EXPECT_EQ(pins.lock_of(segment_bytes - 1, 2), nullptr) << "two locks are not one";
}

TEST_F(pins_of_ten_mebibytes, are_not_asked_for_again_once_refused) {
  pins.ask(0);
  EXPECT_TRUE(pins.asks());
  pins.refused(0);
  EXPECT_FALSE(pins.asks());
  for (size_t i = 0; i < pins.segments(); ++i)
    EXPECT_FALSE(pins.is_open(i));
  EXPECT_TRUE(pins.is_decided(0, memory.size_bytes()));
}

TEST_F(pins_of_ten_mebibytes, go_to_what_needs_them_most) {
  pin(0);
  pins.ask(1);
  pins.refused(1);
  EXPECT_TRUE(pins.prefer({true, false, false}).empty()) << "it has them";
  EXPECT_EQ(pins.prefer({false, false, true}), std::vector<size_t>{2});
  EXPECT_EQ(pins.pinned_bytes(), 0U);
  EXPECT_TRUE(pins.is_open(2));
  EXPECT_TRUE(pins.prefer({true, true, false}).empty()) << "there are none to take";
}

TEST_F(pins_of_ten_mebibytes, are_released_from_the_end_and_end_with_their_last_copy) {
  for (size_t i = 0; i < 3; ++i)
    pin(i);
  const auto copy = pins.lock_of(segment_bytes, 1);
  EXPECT_EQ(pins.release(3 << 20), uint64_t{6} << 20) << "the short one and the one before";
  EXPECT_EQ(pins.pinned_bytes(), segment_bytes);
  EXPECT_EQ(target->counts().registered.now, 2 * segment_bytes) << "the copy's is still there";
  EXPECT_EQ(pins.release(100 << 20), segment_bytes);
  EXPECT_EQ(pins.release(1), 0U);
}

TEST(model_pins, without_an_arena_there_is_nothing_to_wait_for) {
  const model_pins none;
  EXPECT_EQ(none.segments(), 0U);
  EXPECT_TRUE(none.is_decided(0, 100));
  EXPECT_EQ(none.lock_of(0, 100), nullptr);
}

}  // namespace
}  // namespace longshore
