#pragma once
/// Casts of float elements on the CPU: the twin of the device's kernel, bit for bit, and what tests hold kernels
/// against.
///
/// Owns nothing; pure; safe from any thread. Types: F32, F16, BF16, F8_E4M3, F8_E5M2, any to any (gpu/float_bits.hpp
/// has the rules, one definition for CPU and kernels); a type to itself is a copy of the bytes. A CPU with AVX2 and
/// F16C uses them, with the same bits (gpu/cast_paths.hpp). Limits: source and destination must not overlap; neither
/// needs to be aligned. Cannot fail: `can_cast` says beforehand which pairs there are, and any other asserts.

#include <cstddef>
#include <cstdint>
#include <optional>

#include "gpu/float_bits.hpp"
#include "io/safetensors.hpp"

namespace longshore {

/// The type as kernels know it, or nothing for a type that is not cast.
std::optional<float_format> float_format_of(dtype type);

bool can_cast(dtype from, dtype to);

void cast_elements(const std::byte* source, dtype from, std::byte* destination, dtype to, uint64_t elements);

}  // namespace longshore
