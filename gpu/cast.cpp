#include "gpu/cast.hpp"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <utility>

namespace longshore {
namespace {

/// Elements that are converted at once: in local arrays, which are aligned and cannot overlap, and in a loop of a fixed
/// length, which compilers vectorise at -O2 already.
constexpr uint64_t block_elements = 256;

template <float_format from, float_format to>
void convert_block(const typename float_element<from>::bits* source, typename float_element<to>::bits* destination) {
  for (uint64_t i = 0; i < block_elements; ++i)
    destination[i] = convert<from, to>(source[i]);
}

/// What each of the 256 elements of an 8-bit format becomes.
template <float_format from, float_format to>
constexpr auto conversion_table() {
  std::array<typename float_element<to>::bits, 256> table{};
  for (uint32_t i = 0; i < 256; ++i)
    table[i] = convert<from, to>(static_cast<uint8_t>(i));
  return table;
}

template <float_format from, float_format to>
void look_up_block(const uint8_t* source, typename float_element<to>::bits* destination) {
  static const auto table = conversion_table<from, to>();
  for (uint64_t i = 0; i < block_elements; ++i)
    destination[i] = table[source[i]];
}

template <float_format from, float_format to>
void cast_all(const std::byte* source, std::byte* destination, uint64_t elements) {
  using source_bits = typename float_element<from>::bits;
  using destination_bits = typename float_element<to>::bits;
  source_bits before[block_elements] = {};
  destination_bits after[block_elements];
  for (uint64_t done = 0; done < elements; done += block_elements) {
    const auto count = std::min(elements - done, block_elements);
    std::memcpy(before, source + done * sizeof(source_bits), count * sizeof(source_bits));
    if constexpr (sizeof(source_bits) == 1)
      look_up_block<from, to>(before, after);
    else
      convert_block<from, to>(before, after);
    std::memcpy(destination + done * sizeof(destination_bits), after, count * sizeof(destination_bits));
  }
}

using cast_function = void (*)(const std::byte*, std::byte*, uint64_t);

template <uint32_t... pairs>
constexpr auto make_cast_table(std::integer_sequence<uint32_t, pairs...> /*all*/) {
  return std::array<cast_function, sizeof...(pairs)>{
      &cast_all<static_cast<float_format>(pairs / float_format_count),
                static_cast<float_format>(pairs % float_format_count)>...};
}

constexpr auto casts = make_cast_table(std::make_integer_sequence<uint32_t, float_format_count * float_format_count>());

}  // namespace

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

bool can_cast(dtype from, dtype to) { return float_format_of(from) && float_format_of(to); }

void cast_elements(const std::byte* source, dtype from, std::byte* destination, dtype to, uint64_t elements) {
  const auto row = float_format_of(from), column = float_format_of(to);
  assert(row && column);
  casts[static_cast<uint32_t>(*row) * float_format_count + static_cast<uint32_t>(*column)](source, destination,
                                                                                           elements);
}

}  // namespace longshore
