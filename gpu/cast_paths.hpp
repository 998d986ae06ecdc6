#pragma once
/// The casts as they are built for different CPUs: portable code, and code for AVX2 and F16C, which gives the same
/// bits.
///
/// Owns nothing; pure; any thread. For gpu/cast.cpp, which chooses, and for the tests that hold one against the other;
/// who casts calls `cast_elements`. Failure: a table that this CPU cannot run is a null pointer.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "gpu/float_bits.hpp"

namespace longshore {

using cast_function = void (*)(const std::byte* source, std::byte* destination, uint64_t elements);

/// By the format that the elements are of, then by the one that they become.
using cast_table = std::array<std::array<cast_function, float_format_count>, float_format_count>;

const cast_table& portable_casts();

/// Null where the CPU has no AVX2 or no F16C.
const cast_table* avx2_casts();

/// Elements that are converted at once: in local arrays, which are aligned and cannot overlap, and in loops of a fixed
/// length, which compilers vectorise at -O2 already.
inline constexpr uint64_t cast_block_elements = 256;

template <float_format format>
using float_bits_of = typename float_element<format>::bits;

/// Casts any number of elements at any address, given what casts a block.
template <float_format from, float_format to,
          void (*cast_block)(const float_bits_of<from>* source, float_bits_of<to>* destination)>
void cast_in_blocks(const std::byte* source, std::byte* destination, uint64_t elements) {
  float_bits_of<from> before[cast_block_elements] = {};
  float_bits_of<to> after[cast_block_elements];
  for (uint64_t done = 0; done < elements; done += cast_block_elements) {
    const auto count = std::min(elements - done, cast_block_elements);
    std::memcpy(before, source + done * sizeof *before, count * sizeof *before);
    cast_block(before, after);
    std::memcpy(destination + done * sizeof *after, after, count * sizeof *after);
  }
}

}  // namespace longshore
