#include "gpu/cast.hpp"

#include <array>
#include <cassert>
#include <cstring>
#include <utility>

#include "gpu/cast_paths.hpp"

namespace longshore {
namespace {

template <float_format from, float_format to>
void convert_block(const float_bits_of<from>* source, float_bits_of<to>* destination) {
  for (uint64_t i = 0; i < cast_block_elements; ++i)
    destination[i] = convert<from, to>(source[i]);
}

/// What each of the 256 elements of an 8-bit format becomes.
template <float_format from, float_format to>
constexpr auto conversion_table() {
  std::array<float_bits_of<to>, 256> table{};
  for (uint32_t i = 0; i < 256; ++i)
    table[i] = convert<from, to>(static_cast<uint8_t>(i));
  return table;
}

template <float_format from, float_format to>
void look_up_block(const uint8_t* source, float_bits_of<to>* destination) {
  static const auto table = conversion_table<from, to>();
  for (uint64_t i = 0; i < cast_block_elements; ++i)
    destination[i] = table[source[i]];
}

template <float_format format>
void copy_elements(const std::byte* source, std::byte* destination, uint64_t elements) {
  std::memcpy(destination, source, elements * sizeof(float_bits_of<format>));
}

template <float_format from, float_format to>
constexpr cast_function cast_of() {
  if constexpr (from == to)
    return &copy_elements<from>;
  else if constexpr (sizeof(float_bits_of<from>) == 1)
    return &cast_in_blocks<from, to, look_up_block<from, to>>;
  else
    return &cast_in_blocks<from, to, convert_block<from, to>>;
}

template <float_format from, uint32_t... to>
constexpr auto casts_from(std::integer_sequence<uint32_t, to...> /*all*/) {
  return std::array<cast_function, float_format_count>{cast_of<from, static_cast<float_format>(to)>()...};
}

template <uint32_t... formats>
constexpr cast_table all_casts(std::integer_sequence<uint32_t, formats...> all) {
  return {casts_from<static_cast<float_format>(formats)>(all)...};
}

constexpr auto portable = all_casts(std::make_integer_sequence<uint32_t, float_format_count>());

}  // namespace

const cast_table& portable_casts() { return portable; }

std::optional<float_format> float_format_of(dtype type) {
  switch (type) {
    case dtype::F32:
      return float_format::f32;
    case dtype::F16:
      return float_format::f16;
    case dtype::BF16:
      return float_format::bf16;
    case dtype::F8_E4M3:
      return float_format::f8_e4m3;
    case dtype::F8_E5M2:
      return float_format::f8_e5m2;
    default:
      return std::nullopt;
  }
}

bool can_cast(dtype from, dtype to) { return is_castable(from) && is_castable(to); }

void cast_elements(const std::byte* source, dtype from, std::byte* destination, dtype to, uint64_t elements) {
  static const auto& casts = avx2_casts() != nullptr ? *avx2_casts() : portable_casts();
  const auto row = float_format_of(from), column = float_format_of(to);
  assert(row && column);
  casts[static_cast<uint32_t>(*row)][static_cast<uint32_t>(*column)](source, destination, elements);
}

}  // namespace longshore
