// Casts: known values, round trips and a slow model of rounding. tests/e2e/test_casts.py compares with torch.
#include "gpu/cast.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

using namespace longshore;

namespace {

using enum float_format;

constexpr uint32_t of(float value) { return std::bit_cast<uint32_t>(value); }

template <float_format format>
constexpr auto narrow(float value) {
  return convert<f32, format>(of(value));
}

// What torch answers, written down; evaluated by the compiler.
static_assert(narrow<f16>(1.0F) == 0x3c00 && narrow<f16>(-2.0F) == 0xc000 && narrow<f16>(65504.0F) == 0x7bff);
static_assert(narrow<f16>(65519.996F) == 0x7bff && narrow<f16>(65520.0F) == 0x7c00 && narrow<f16>(1e30F) == 0x7c00);
static_assert(narrow<f16>(0x1p-24F) == 1 && narrow<f16>(0x1p-25F) == 0 && narrow<f16>(0x1.000002p-25F) == 1);
static_assert(narrow<f16>(0x1.8p-24F) == 2 && narrow<f16>(-0.0F) == 0x8000 && narrow<f16>(0x1.ffep-15F) == 0x0400);
static_assert(narrow<bf16>(1.0F) == 0x3f80 && narrow<bf16>(3.4028235e38F) == 0x7f80 && narrow<bf16>(1e-45F) == 0);
static_assert(convert<f32, bf16>(0x3f80'8000) == 0x3f80 && convert<f32, bf16>(0x3f81'8000) == 0x3f82);
static_assert(narrow<f8_e4m3>(448.0F) == 0x7e && narrow<f8_e4m3>(464.0F) == 0x7e && narrow<f8_e4m3>(-464.0F) == 0xfe);
static_assert(narrow<f8_e4m3>(464.00003F) == 0x7e && narrow<f8_e4m3>(480.0F) == 0x7e);
static_assert(narrow<f8_e4m3>(-1e30F) == 0xfe && narrow<f8_e4m3>(-HUGE_VALF) == 0xfe);
static_assert(narrow<f8_e4m3>(0x1p-9F) == 1 && narrow<f8_e4m3>(0x1p-10F) == 0 && narrow<f8_e4m3>(0x1.8p-9F) == 2);
static_assert(narrow<f8_e5m2>(57344.0F) == 0x7b && narrow<f8_e5m2>(61439.996F) == 0x7b);
static_assert(narrow<f8_e5m2>(61440.0F) == 0x7c && narrow<f8_e5m2>(-HUGE_VALF) == 0xfc);
static_assert(narrow<f8_e5m2>(0x1p-16F) == 1 && narrow<f8_e5m2>(0x1p-17F) == 0 && narrow<f8_e5m2>(0x1.8p-16F) == 2);

// NaN, as the header states.
static_assert(convert<f32, f8_e4m3>(0x7f80'0001) == 0x7f && convert<f32, f8_e4m3>(0xffc0'0000) == 0xff);
static_assert(convert<f32, f8_e5m2>(0x7f80'0001) == 0x7f && convert<f32, f8_e5m2>(0xffff'ffff) == 0xff);
static_assert(convert<f32, f16>(0x7f80'0001) == 0x7e00 && convert<f32, f16>(0xffa1'2345) == 0xff09);
static_assert(convert<f32, bf16>(0xffff'ffff) == 0x7fc0 && convert<bf16, f32>(0x7f81) == 0x7f81'0000);
static_assert(convert<f8_e4m3, f32>(0xff) == 0xfff0'0000 && convert<f8_e5m2, f32>(0x7d) == 0x7fe0'0000);
static_assert(convert<f16, f32>(0x7c01) == 0x7fc0'2000 && convert<bf16, f16>(0x7f81) == 0x7e08);

constexpr dtype types[] = {dtype::F32, dtype::F16, dtype::BF16, dtype::F8_E4M3, dtype::F8_E5M2};

/// The values of a format by its definition, from 0 up; `last` is the largest, or the infinity a step beyond it.
template <int mantissa_bits, int bias>
std::vector<double> grid(unsigned last) {
  std::vector<double> values;
  for (unsigned i = 0; i <= last; ++i) {
    const int exponent = static_cast<int>(i >> mantissa_bits);
    const double fraction = static_cast<double>(i & ((1U << mantissa_bits) - 1)) / (1 << mantissa_bits);
    values.push_back(exponent == 0 ? std::ldexp(fraction, 1 - bias) : std::ldexp(1 + fraction, exponent - bias));
  }
  return values;
}

/// The place in the grid that a value rounds to: nearest, ties to the even place.
unsigned nearest(const std::vector<double>& values, double value) {
  const auto above = std::lower_bound(values.begin(), values.end(), value);
  if (above == values.end())
    return static_cast<unsigned>(values.size() - 1);
  const auto place = static_cast<unsigned>(above - values.begin());
  if (place == 0)
    return 0;
  const double up = *above - value, down = value - values[place - 1];
  return up < down || (up == down && place % 2 == 0) ? place : place - 1;
}

template <float_format format, int mantissa_bits, int bias>
void expect_nearest(unsigned last, uint32_t bits) {
  static const auto values = grid<mantissa_bits, bias>(last);
  const uint32_t magnitude = bits & 0x7fff'ffff;
  RC_PRE(magnitude < float_bits::f32_infinity);
  const auto rounded = convert<f32, format>(bits);
  constexpr unsigned sign = 1U << (8 * sizeof(rounded) - 1);
  RC_ASSERT((rounded & (sign - 1)) == nearest(values, std::bit_cast<float>(magnitude)));
  RC_ASSERT((rounded & sign) == (bits >> 31) * sign);
}

/// Any pattern, but mostly ones whose value lies within the narrow formats' range.
uint32_t random_f32() {
  const auto exponent = *rc::gen::weightedOneOf<uint32_t>(
      {{5, rc::gen::inRange<uint32_t>(97, 146)}, {1, rc::gen::inRange<uint32_t>(0, 256)}});
  const auto mantissa = *rc::gen::inRange<uint32_t>(0, 1 << 23) & ~0U << *rc::gen::inRange(0, 22);
  return *rc::gen::inRange<uint32_t>(0, 2) << 31 | exponent << 23 | mantissa;
}

RC_GTEST_PROP(cast, rounds_to_the_nearest_f16, ()) { expect_nearest<f16, 10, 15>(0x7c00, random_f32()); }
RC_GTEST_PROP(cast, rounds_to_the_nearest_e5m2, ()) { expect_nearest<f8_e5m2, 2, 15>(0x7c, random_f32()); }
RC_GTEST_PROP(cast, rounds_to_the_nearest_e4m3, ()) { expect_nearest<f8_e4m3, 3, 7>(0x7e, random_f32()); }

template <float_format narrow_format, float_format wide_format>
void expect_round_trip(uint32_t infinity) {
  using bits = typename float_element<narrow_format>::bits;
  const uint32_t sign = 1U << (8 * sizeof(bits) - 1);
  for (uint32_t i = 0; i < 2 * sign; ++i) {
    if ((i & (sign - 1)) > infinity)
      continue;
    const auto there = convert<narrow_format, wide_format>(static_cast<bits>(i));
    ASSERT_EQ((convert<wide_format, narrow_format>(there)), i);
  }
}

TEST(cast, every_number_comes_back_from_a_format_that_holds_it) {
  expect_round_trip<f16, f32>(0x7c00);
  expect_round_trip<bf16, f32>(0x7f80);
  expect_round_trip<f8_e4m3, f32>(0x7e);
  expect_round_trip<f8_e5m2, f32>(0x7c);
  expect_round_trip<f8_e4m3, f16>(0x7e);
  expect_round_trip<f8_e4m3, bf16>(0x7e);
  expect_round_trip<f8_e5m2, f16>(0x7c);
  expect_round_trip<f8_e5m2, bf16>(0x7c);
}

TEST(cast, knows_its_types) {
  for (size_t i = 0; i < dtype_count; ++i) {
    const auto type = static_cast<dtype>(i);
    const bool known = std::find(std::begin(types), std::end(types), type) != std::end(types);
    EXPECT_EQ(can_cast(type, dtype::F16), known) << i;
    EXPECT_EQ(can_cast(dtype::F16, type), known) << i;
  }
}

size_t bytes_of(dtype type) { return type == dtype::F32 ? 4 : type == dtype::F16 || type == dtype::BF16 ? 2 : 1; }

// Each pair at odd addresses, in lengths around a block's, against elements cast one by one.
TEST(cast, casts_any_number_of_elements_at_any_address_and_touches_nothing_else) {
  std::vector<std::byte> source(4 * 1024 + 1), whole(4 * 1024 + 2), alone(4);
  for (size_t i = 0; i < source.size(); ++i)
    source[i] = static_cast<std::byte>(i * 167 >> 3);
  for (const auto from : types)
    for (const auto to : types)
      for (const size_t elements : {0, 1, 255, 256, 257, 1000}) {
        std::fill(whole.begin(), whole.end(), std::byte{0xa5});
        cast_elements(source.data() + 1, from, whole.data() + 1, to, elements);
        for (size_t i = 0; i < elements; ++i) {
          cast_elements(source.data() + 1 + i * bytes_of(from), from, alone.data(), to, 1);
          ASSERT_EQ(std::memcmp(alone.data(), whole.data() + 1 + i * bytes_of(to), bytes_of(to)), 0) << i;
        }
        ASSERT_EQ(whole[0], std::byte{0xa5});
        ASSERT_TRUE(std::all_of(whole.begin() + 1 + static_cast<ptrdiff_t>(elements * bytes_of(to)), whole.end(),
                                [](std::byte b) { return b == std::byte{0xa5}; }));
      }
}

TEST(cast, a_type_to_itself_keeps_every_bit) {
  const std::vector<std::byte> source{std::byte{0x01}, std::byte{0x7c}, std::byte{0xff}, std::byte{0xff}};
  for (const auto type : types) {
    std::vector<std::byte> copy(4);
    cast_elements(source.data(), type, copy.data(), type, 4 / bytes_of(type));
    EXPECT_EQ(copy, source);
  }
}

}  // namespace
