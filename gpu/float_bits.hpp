#pragma once
/// Float formats as bits: one element of any of five formats to one of any other, for the CPU and for kernels alike.
///
/// Owns nothing; pure. Every conversion is the one that `torch.Tensor.to` of torch 2.13 makes of a single element:
/// to the nearest, ties to even, subnormals kept. What does not fit becomes infinity (F16, BF16, F8_E5M2); F8_E4M3 has
/// none, and there it becomes the largest value, 448, as does infinity itself (torch's Float8_e4m3fn.h says so too).
///
/// NaN stays NaN, and with torch's bits where torch's own code for different CPUs agrees:
/// - to F8_E4M3 and F8_E5M2: all bits set but the sign, which is kept
/// - to F32: BF16 unchanged; F16 and F8_E5M2 with the quiet bit set; F8_E4M3 0x7ff00000 and the sign
/// - F32 to F16: the sign, the upper bits and the quiet bit; so here for BF16 and F8 too (torch: only with AVX2)
/// - F16 and F8 to BF16: 0x7fc0; so here for F32 too (torch: 0xffff with AVX2)
/// - F16 to F32 has one more exception: torch makes 0x7fffffff of any NaN in a tensor of few elements
///
/// Formats narrower than F32 go through F32, which holds each of their values, so nothing is rounded twice. The
/// arithmetic is on integers, and float additions whose rounding is the point: the rounding mode must be to nearest;
/// flushing subnormals to zero changes nothing. Loops over these functions vectorise, with GCC under
/// -fno-trapping-math.

#include <bit>
#include <cstdint>

// For nvcc, which wants the functions marked that a kernel may call.
#ifdef __CUDACC__
#define LONGSHORE_ON_DEVICE __host__ __device__
#else
#define LONGSHORE_ON_DEVICE
#endif

namespace longshore {

/// The numbers are part of the kernels' interface (gpu/cuda_table.hpp).
enum class float_format : uint32_t { f32, f16, bf16, f8_e4m3, f8_e5m2 };

inline constexpr uint32_t float_format_count = 5;

namespace float_bits {

inline constexpr uint32_t f32_infinity = 0x7f80'0000;
inline constexpr int f32_mantissa_bits = 23;
inline constexpr int f32_bias = 127;

LONGSHORE_ON_DEVICE constexpr float as_float(uint32_t bits) {
#ifdef __CUDA_ARCH__
  return __uint_as_float(bits);
#else
  return std::bit_cast<float>(bits);
#endif
}

LONGSHORE_ON_DEVICE constexpr uint32_t as_bits(float value) {
#ifdef __CUDA_ARCH__
  return __float_as_uint(value);
#else
  return std::bit_cast<uint32_t>(value);
#endif
}

/// Magnitude bits of a finite F32 to those of a format with fewer bits, the exponent running over into what comes
/// behind the largest value. `mantissa_bits` and `bias` are the target's.
template <int mantissa_bits, int bias>
LONGSHORE_ON_DEVICE constexpr uint32_t rounded(uint32_t magnitude) {
  constexpr int shift = f32_mantissa_bits - mantissa_bits;
  constexpr auto rebias = static_cast<uint32_t>(f32_bias - bias) << f32_mantissa_bits;
  constexpr uint32_t just_below_half = (uint32_t{1} << (shift - 1)) - 1;
  const uint32_t odd = (magnitude >> shift) & 1;
  const uint32_t normal = (magnitude - rebias + just_below_half + odd) >> shift;
  // In the sum, the last bit of the F32 is worth the target's smallest subnormal: the addition itself rounds to it.
  constexpr auto magic = static_cast<uint32_t>(f32_bias + 1 - bias + shift) << f32_mantissa_bits;
  const uint32_t subnormal = as_bits(as_float(magnitude) + as_float(magic)) - magic;
  constexpr auto smallest_normal = static_cast<uint32_t>(f32_bias + 1 - bias) << f32_mantissa_bits;
  return magnitude < smallest_normal ? subnormal : normal;
}

LONGSHORE_ON_DEVICE constexpr uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

/// Bits of an F16, or of a format that is its upper part, to those of an F32.
LONGSHORE_ON_DEVICE constexpr uint32_t from_f16(uint32_t bits) {
  constexpr auto rebias = static_cast<uint32_t>(f32_bias - 15) << f32_mantissa_bits;
  constexpr uint32_t quiet = uint32_t{1} << (f32_mantissa_bits - 1);
  const uint32_t magnitude = (bits & 0x7fff) << 13;
  const uint32_t normal = magnitude + rebias;
  const uint32_t special = (normal + rebias) | (magnitude > 0x0f80'0000 ? quiet : 0);  // infinity, NaN
  constexpr auto smallest_normal = static_cast<uint32_t>(f32_bias + 1 - 15) << f32_mantissa_bits;
  const uint32_t subnormal = as_bits(as_float(magnitude + smallest_normal) - as_float(smallest_normal));
  const uint32_t finite = magnitude < 0x0080'0000 ? subnormal : normal;
  return (magnitude >= 0x0f80'0000 ? special : finite) | (bits & 0x8000) << 16;
}

LONGSHORE_ON_DEVICE constexpr uint32_t from_e4m3(uint32_t bits) {
  constexpr auto rebias = static_cast<uint32_t>(f32_bias - 7) << f32_mantissa_bits;
  const uint32_t magnitude = (bits & 0x7f) << 20;
  constexpr auto smallest_normal = static_cast<uint32_t>(f32_bias + 1 - 7) << f32_mantissa_bits;
  const uint32_t subnormal = as_bits(as_float(magnitude + smallest_normal) - as_float(smallest_normal));
  const uint32_t finite = magnitude < 0x0080'0000 ? subnormal : magnitude + rebias;
  return ((bits & 0x7f) == 0x7f ? 0x7ff0'0000 : finite) | (bits & 0x80) << 24;
}

}  // namespace float_bits

/// Per format: the unsigned integer that holds an element, and its bits to and from those of an F32.
template <float_format format>
struct float_element;

template <>
struct float_element<float_format::f32> {
  using bits = uint32_t;
  LONGSHORE_ON_DEVICE static constexpr uint32_t widen(bits b) { return b; }
  LONGSHORE_ON_DEVICE static constexpr bits narrow(uint32_t f32) { return f32; }
};

template <>
struct float_element<float_format::f16> {
  using bits = uint16_t;
  LONGSHORE_ON_DEVICE static constexpr uint32_t widen(bits b) { return float_bits::from_f16(b); }
  LONGSHORE_ON_DEVICE static constexpr bits narrow(uint32_t f32) {
    const uint32_t magnitude = f32 & 0x7fff'ffff;
    const uint32_t number = float_bits::least(float_bits::rounded<10, 15>(magnitude), 0x7c00);
    const uint32_t nan = 0x7e00 | (magnitude >> 13 & 0x3ff);
    return static_cast<bits>((magnitude > float_bits::f32_infinity ? nan : number) | (f32 >> 16 & 0x8000));
  }
};

template <>
struct float_element<float_format::bf16> {
  using bits = uint16_t;
  LONGSHORE_ON_DEVICE static constexpr uint32_t widen(bits b) { return uint32_t{b} << 16; }
  LONGSHORE_ON_DEVICE static constexpr bits narrow(uint32_t f32) {
    const uint32_t number = (f32 + 0x7fff + (f32 >> 16 & 1)) >> 16;
    return static_cast<bits>((f32 & 0x7fff'ffff) > float_bits::f32_infinity ? 0x7fc0 : number);
  }
};

template <>
struct float_element<float_format::f8_e4m3> {
  using bits = uint8_t;
  LONGSHORE_ON_DEVICE static constexpr uint32_t widen(bits b) { return float_bits::from_e4m3(b); }
  LONGSHORE_ON_DEVICE static constexpr bits narrow(uint32_t f32) {
    const uint32_t magnitude = f32 & 0x7fff'ffff;
    const uint32_t number = float_bits::least(float_bits::rounded<3, 7>(magnitude), 0x7e);
    return static_cast<bits>((magnitude > float_bits::f32_infinity ? 0x7f : number) | (f32 >> 24 & 0x80));
  }
};

template <>
struct float_element<float_format::f8_e5m2> {
  using bits = uint8_t;
  LONGSHORE_ON_DEVICE static constexpr uint32_t widen(bits b) { return float_bits::from_f16(uint32_t{b} << 8); }
  LONGSHORE_ON_DEVICE static constexpr bits narrow(uint32_t f32) {
    const uint32_t magnitude = f32 & 0x7fff'ffff;
    const uint32_t number = float_bits::least(float_bits::rounded<2, 15>(magnitude), 0x7c);
    return static_cast<bits>((magnitude > float_bits::f32_infinity ? 0x7f : number) | (f32 >> 24 & 0x80));
  }
};

/// One element from one format to another; equal formats keep every bit.
template <float_format from, float_format to>
LONGSHORE_ON_DEVICE constexpr typename float_element<to>::bits convert(typename float_element<from>::bits element) {
  if constexpr (from == to)
    return element;
  else
    return float_element<to>::narrow(float_element<from>::widen(element));
}

}  // namespace longshore
