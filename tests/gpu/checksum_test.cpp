// The checksum against its definition, taken word by word, and what it must notice.
#include "gpu/checksum.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <vector>

using namespace longshore;

namespace {

using byte_vector = std::vector<std::byte>;

byte_vector counted_bytes(size_t count) {
  byte_vector bytes(count);
  for (size_t i = 0; i < count; ++i)
    bytes[i] = static_cast<std::byte>(i * 37 + 11);
  return bytes;
}

/// As the header defines it, with no word taken faster than by its bytes.
uint64_t by_definition(const byte_vector& bytes) {
  uint64_t sum = 0;
  for (size_t word = 0; word * 8 < bytes.size(); ++word) {
    uint64_t value = 0;
    for (size_t at = 0; at < 8 && word * 8 + at < bytes.size(); ++at)
      value |= static_cast<uint64_t>(bytes[word * 8 + at]) << (8 * at);
    sum += checksum_mix(value + word * checksum_step);
  }
  return checksum_mix(sum + checksum_mix(bytes.size() + checksum_step));
}

RC_GTEST_PROP(checksum, is_what_the_definition_says, (const std::vector<uint8_t>& values)) {
  byte_vector bytes(values.size());
  std::ranges::transform(values, bytes.begin(), [](auto value) { return std::byte{value}; });
  RC_ASSERT(checksum(bytes) == by_definition(bytes));
}

RC_GTEST_PROP(checksum, sums_of_stretches_add_up_in_any_order, ()) {
  const auto bytes = counted_bytes(*rc::gen::inRange<size_t>(1, 4000));
  const auto words = (bytes.size() + 7) / 8;
  const auto cut = *rc::gen::inRange<size_t>(0, words);
  const std::span<const std::byte> all{bytes};
  const auto tail = checksum_words(cut, all.subspan(cut * 8));
  RC_ASSERT(checksum_of_sum(tail + checksum_words(0, all.first(cut * 8)), all.size()) == checksum(all));
}

RC_GTEST_PROP(checksum, notices_a_bit_that_flips, ()) {
  auto bytes = counted_bytes(*rc::gen::inRange<size_t>(1, 300));
  const auto before = checksum(bytes);
  bytes[*rc::gen::inRange<size_t>(0, bytes.size())] ^= std::byte{1} << *rc::gen::inRange(0, 8);
  RC_ASSERT(checksum(bytes) != before);
}

TEST(checksum, notices_words_that_change_places) {
  auto bytes = counted_bytes(64);
  const auto before = checksum(bytes);
  std::swap_ranges(bytes.begin(), bytes.begin() + 8, bytes.begin() + 40);
  EXPECT_NE(checksum(bytes), before);
}

TEST(checksum, tells_lengths_of_zeros_apart) {
  std::vector<uint64_t> seen;
  for (size_t length = 0; length < 100; ++length)
    seen.push_back(checksum(byte_vector(length)));
  std::ranges::sort(seen);
  EXPECT_EQ(std::ranges::adjacent_find(seen), seen.end());
  EXPECT_FALSE(std::ranges::binary_search(seen, 0u)) << "memory that nobody has written must not pass for a result";
}

// Fixed values: whoever computes the same elsewhere compares with these.
TEST(checksum, of_known_bytes) {
  EXPECT_EQ(checksum_mix(1), 0xb456bcfc34c2cb2cu);
  EXPECT_EQ(checksum({}), 0x6393d51c06c618dcu);
  EXPECT_EQ(checksum(counted_bytes(3)), 0x70aa805db94269c9u);
  EXPECT_EQ(checksum(counted_bytes(1000)), 0x7e9f1b0ea59e0fbfu);
  EXPECT_EQ(checksum(counted_bytes(1003)), 0x690f3ee0bfe8ae27u);
}

}  // namespace
