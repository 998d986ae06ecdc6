#pragma once
/// The made-up bytes of one tensor, from its first to its last.
///
/// Floats are finite and small (a log-uniform draw of either sign, at most 2^-7 from 16 bits up, below 1 in 8),
/// or between 1 and 1.13 for weights that scale a signal; sign, mantissa and part of the exponent vary, so that no disk
/// or file system compresses them away. Integers of 16 bits and more count from 0, as position ids do; smaller ones
/// vary. The same type, kind and seed give the same bytes on every machine. Owns a few words; one thread at a time.
/// Cannot fail.

#include <cstddef>
#include <cstdint>
#include <span>

#include "io/safetensors.hpp"

namespace longshore {

enum class weight_kind : uint8_t { small, near_one };

class weight_stream {
public:
  weight_stream(dtype type, weight_kind kind, uint64_t seed);

  /// The tensor's next bytes. Every call but a tensor's last must ask for a multiple of 8.
  void fill(std::span<std::byte> out);

private:
  uint64_t next_word();

  uint64_t varying_;  ///< which bits are drawn; the others are those of `fixed_`
  uint64_t fixed_;
  unsigned counting_bits_;  ///< width of an integer that counts, or 0
  uint64_t count_ = 0;
  uint64_t random_state_;
};

}  // namespace longshore
