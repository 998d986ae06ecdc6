#include "app/cli/weight_stream.hpp"

#include <algorithm>
#include <cstring>

namespace longshore {
namespace {

/// One element, in its lowest bits.
struct bit_pattern {
  uint64_t varying;
  uint64_t fixed;
};

/// Sign, mantissa and the two lowest bits of the exponent vary; the exponent's other bits hold the value small.
bit_pattern small_pattern(dtype type) {
  switch (type) {
    case dtype::F64:
      return {0x803F'FFFF'FFFF'FFFF, 0x3F40'0000'0000'0000};
    case dtype::F32:
    case dtype::C64:
      return {0x81FF'FFFF, 0x3A00'0000};
    case dtype::F16:
      return {0x8FFF, 0x1000};
    case dtype::BF16:
      return {0x81FF, 0x3A00};
    case dtype::F8_E4M3:
      return {0x9F, 0x00};
    case dtype::F8_E4M3FNUZ:
      return {0x9F, 0x20};  // a set bit: its lone 0x80 would be NaN
    case dtype::F8_E5M2:
    case dtype::F8_E5M2FNUZ:
      return {0x8F, 0x10};
    case dtype::F8_E8M0:
      return {0x03, 0x78};
    case dtype::BOOL:
      return {0x01, 0x00};
    default:
      return {0xFF, 0x00};  // every pattern is a value of these
  }
}

/// 1 and the mantissa's low bits, where the type is wide enough to have any to vary.
bit_pattern near_one_pattern(dtype type) {
  switch (type) {
    case dtype::F64:
      return {0x0001'FFFF'FFFF'FFFF, 0x3FF0'0000'0000'0000};
    case dtype::F32:
      return {0x000F'FFFF, 0x3F80'0000};
    case dtype::F16:
      return {0x007F, 0x3C00};
    case dtype::BF16:
      return {0x000F, 0x3F80};
    case dtype::F8_E4M3:
      return {0x00, 0x38};
    case dtype::F8_E5M2:
      return {0x00, 0x3C};
    default:
      return small_pattern(type);
  }
}

bool counts(dtype type) {
  return type == dtype::I16 || type == dtype::U16 || type == dtype::I32 || type == dtype::U32 || type == dtype::I64 ||
         type == dtype::U64;
}

/// The element's bits side by side until the word is full.
uint64_t across_word(uint64_t element, unsigned element_bits) {
  for (auto width = element_bits; width < 64; width *= 2)
    element |= element << width;
  return element;
}

}  // namespace

weight_stream::weight_stream(dtype type, weight_kind kind, uint64_t seed)
    : counting_bits_(counts(type) ? bits(type) : 0), random_state_(seed) {
  const auto pattern = kind == weight_kind::near_one ? near_one_pattern(type) : small_pattern(type);
  // A complex number is two floats, and types narrower than a byte are drawn by the byte.
  const auto element_bits = type == dtype::C64 ? 32 : std::max(8U, bits(type));
  varying_ = across_word(pattern.varying, element_bits);
  fixed_ = across_word(pattern.fixed, element_bits);
}

void weight_stream::fill(std::span<std::byte> out) {
  while (!out.empty()) {
    const auto word = next_word();
    const auto size_bytes = std::min(out.size(), sizeof(word));
    std::memcpy(out.data(), &word, size_bytes);
    out = out.subspan(size_bytes);
  }
}

/// Integers: the next few of the count. Floats: a draw of SplitMix64 (Steele, Lea and Flood, 2014), a counter and a
/// mix, which one core makes at several GB/s.
uint64_t weight_stream::next_word() {
  if (counting_bits_ != 0) {
    uint64_t word = 0;
    for (unsigned at = 0; at < 64; at += counting_bits_) {
      const auto value = counting_bits_ == 64 ? count_ : count_ & ((uint64_t{1} << counting_bits_) - 1);
      word |= value << at;
      ++count_;
    }
    return word;
  }
  random_state_ += 0x9E37'79B9'7F4A'7C15;
  auto mixed = random_state_;
  mixed = (mixed ^ (mixed >> 30)) * 0xBF58'476D'1CE4'E5B9;
  mixed = (mixed ^ (mixed >> 27)) * 0x94D0'49BB'1331'11EB;
  mixed ^= mixed >> 31;
  return (mixed & varying_) | fixed_;
}

}  // namespace longshore
