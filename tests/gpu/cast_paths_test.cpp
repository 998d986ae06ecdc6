// The code for particular CPUs against the portable code, which tests/gpu/cast_test.cpp holds against what is known.
#include "gpu/cast_paths.hpp"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

using namespace longshore;

namespace {

constexpr size_t element_bytes[] = {4, 2, 2, 1, 1};  // in the order of float_format

/// Casts the same elements in both ways, at an odd address and to one.
void expect_equal_bits(uint32_t from, const std::vector<std::byte>& source) {
  const auto elements = source.size() / element_bytes[from];
  std::vector<std::byte> shifted(source.size() + 1);
  std::copy(source.begin(), source.end(), shifted.begin() + 1);
  for (uint32_t to = 0; to < float_format_count; ++to) {
    std::vector<std::byte> portable(elements * element_bytes[to] + 1), other = portable;
    portable_casts()[from][to](shifted.data() + 1, portable.data() + 1, elements);
    (*avx2_casts())[from][to](shifted.data() + 1, other.data() + 1, elements);
    const auto differ = std::mismatch(portable.begin(), portable.end(), other.begin()).first;
    ASSERT_EQ(differ, portable.end()) << "from " << from << " to " << to << ", element "
                                      << static_cast<size_t>(differ - portable.begin() - 1) / element_bytes[to];
  }
}

template <class Integer>
std::vector<std::byte> bytes_of(const std::vector<Integer>& patterns) {
  const auto bytes = std::as_bytes(std::span{patterns});
  return {bytes.begin(), bytes.end()};
}

/// Each exponent with the mantissas where rounding to any of the narrower formats changes its mind, and their
/// neighbours; that is all ties, the smallest and largest of each format, subnormals, infinities and NaN payloads too.
std::vector<uint32_t> f32_edges() {
  std::vector<uint32_t> mantissas{0, 1, 2, 0x7f'ffff, 0x7f'fffe};
  for (const int kept_bits : {10, 7, 3, 2})
    for (uint32_t upper = 0; upper < 1U << kept_bits; ++upper)
      for (const int below : {-1, 0, 1})
        mantissas.push_back(((upper << (23 - kept_bits)) + (1U << (22 - kept_bits)) + static_cast<uint32_t>(below)) &
                            0x7f'ffff);
  for (int bit = 0; bit < 23; ++bit)  // where subnormals round
    for (const uint32_t more : {0U, 1U})
      mantissas.push_back(1U << bit | more);
  std::vector<uint32_t> patterns;
  for (uint32_t sign_and_exponent = 0; sign_and_exponent < 512; ++sign_and_exponent)
    for (const auto mantissa : mantissas)
      patterns.push_back(sign_and_exponent << 23 | mantissa);
  return patterns;
}

#ifdef __x86_64__
TEST(cast_paths, are_there_where_the_system_says_so) {
  std::ifstream cpus{"/proc/cpuinfo"};
  const std::string text{std::istreambuf_iterator<char>{cpus}, {}};
  const bool has_both = text.find(" avx2") != std::string::npos && text.find(" f16c") != std::string::npos;
  EXPECT_EQ(avx2_casts() != nullptr, has_both);
}
#endif

class cast_paths_for : public testing::Test {
protected:
  /// Elsewhere the portable code is all there is.
  static bool there_are_two() { return avx2_casts() != nullptr; }
};

TEST_F(cast_paths_for, every_f16_and_bf16_agree) {
  std::vector<uint16_t> all(1 << 16);
  for (size_t i = 0; i < all.size(); ++i)
    all[i] = static_cast<uint16_t>(i);
  for (const auto from : {float_format::f16, float_format::bf16})
    if (there_are_two())
      expect_equal_bits(static_cast<uint32_t>(from), bytes_of(all));
}

TEST_F(cast_paths_for, every_f8_agrees) {
  std::vector<uint8_t> all(1 << 8);
  for (size_t i = 0; i < all.size(); ++i)
    all[i] = static_cast<uint8_t>(i);
  for (const auto from : {float_format::f8_e4m3, float_format::f8_e5m2})
    if (there_are_two())
      expect_equal_bits(static_cast<uint32_t>(from), bytes_of(all));
}

TEST_F(cast_paths_for, f32_at_every_edge_agrees) {
  if (there_are_two())
    expect_equal_bits(static_cast<uint32_t>(float_format::f32), bytes_of(f32_edges()));
}

TEST_F(cast_paths_for, f32_all_over_agrees) {
  std::vector<uint32_t> patterns;
  constexpr uint32_t step = 1021;  // prime: the low bits differ too
  for (uint64_t pattern = 0; pattern < uint64_t{1} << 32; pattern += step)
    patterns.push_back(static_cast<uint32_t>(pattern));
  if (there_are_two())
    expect_equal_bits(static_cast<uint32_t>(float_format::f32), bytes_of(patterns));
}

TEST_F(cast_paths_for, any_number_of_elements_agrees_and_nothing_else_is_touched) {
  std::mt19937 random{7};
  std::vector<std::byte> source(4 * 1200);
  for (auto& byte : source)
    byte = static_cast<std::byte>(random());
  for (const size_t elements : {0, 1, 7, 8, 9, 255, 256, 257, 1000})
    for (uint32_t from = 0; there_are_two() && from < float_format_count; ++from)
      for (uint32_t to = 0; to < float_format_count; ++to) {
        std::vector<std::byte> portable(elements * element_bytes[to] + 8, std::byte{0xa5}), other = portable;
        portable_casts()[from][to](source.data(), portable.data(), elements);
        (*avx2_casts())[from][to](source.data(), other.data(), elements);
        ASSERT_EQ(portable, other) << from << " " << to << " " << elements;
        ASSERT_EQ(other.back(), std::byte{0xa5});
      }
}

}  // namespace
