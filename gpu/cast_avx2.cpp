// Attributes of functions and not of this file: what headers bring along must run on every CPU, since the linker keeps
// one copy of it for the whole program.
#include "gpu/cast_paths.hpp"

#ifdef __x86_64__
#include <utility>

#include <immintrin.h>

#define LONGSHORE_AVX2 [[gnu::target("avx2,f16c")]]

namespace longshore {
namespace {

using enum float_format;

constexpr uint64_t lanes = 8;

LONGSHORE_AVX2 void widen_f16(const uint16_t* source, uint32_t* destination) {
  for (uint64_t i = 0; i < cast_block_elements; i += lanes) {
    const auto narrow = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source + i));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(destination + i), _mm256_castps_si256(_mm256_cvtph_ps(narrow)));
  }
}

LONGSHORE_AVX2 void narrow_to_f16(const uint32_t* source, uint16_t* destination) {
  for (uint64_t i = 0; i < cast_block_elements; i += lanes) {
    const auto wide = _mm256_castsi256_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(source + i)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(destination + i), _mm256_cvtps_ph(wide, _MM_FROUND_TO_NEAREST_INT));
  }
}

/// F16 by the CPU's own instructions, which do what gpu/float_bits.hpp says; the rest is its code, vectorised.
template <float_format from, float_format to>
LONGSHORE_AVX2 void convert_block(const float_bits_of<from>* __restrict source,
                                  float_bits_of<to>* __restrict destination) {
  uint32_t wide[cast_block_elements];
  if constexpr (from == f16 && to == f32) {
    widen_f16(source, destination);
  } else if constexpr (from == f32 && to == f16) {
    narrow_to_f16(source, destination);
  } else if constexpr (from == f16) {
    widen_f16(source, wide);
    for (uint64_t i = 0; i < cast_block_elements; ++i)
      destination[i] = float_element<to>::narrow(wide[i]);
  } else if constexpr (to == f16) {
    for (uint64_t i = 0; i < cast_block_elements; ++i)
      wide[i] = float_element<from>::widen(source[i]);
    narrow_to_f16(wide, destination);
  } else {
    for (uint64_t i = 0; i < cast_block_elements; ++i)
      destination[i] = convert<from, to>(source[i]);
  }
}

template <float_format from, float_format to>
void put_cast(cast_table& table) {
  if constexpr (from != to)
    table[static_cast<uint32_t>(from)][static_cast<uint32_t>(to)] = &cast_in_blocks<from, to, convert_block<from, to>>;
}

template <float_format from>
void put_casts_from(cast_table& table) {
  put_cast<from, f32>(table);
  put_cast<from, f16>(table);
  put_cast<from, bf16>(table);
  put_cast<from, f8_e4m3>(table);
  put_cast<from, f8_e5m2>(table);
}

/// What is looked up in tables, or only copied, is portable code here too.
cast_table make_casts() {
  auto table = portable_casts();
  put_casts_from<f32>(table);
  put_casts_from<f16>(table);
  put_casts_from<bf16>(table);
  return table;
}

}  // namespace

const cast_table* avx2_casts() {
  static const auto casts = make_casts();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c") ? &casts : nullptr;
}

}  // namespace longshore
#else
namespace longshore {

const cast_table* avx2_casts() { return nullptr; }

}  // namespace longshore
#endif
