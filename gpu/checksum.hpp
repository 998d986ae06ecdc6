#pragma once
/// The checksum of memory that host and device both compute, to compare what arrived with what was sent.
///
/// Definition, modulo 2^64 throughout. The bytes are cut into little-endian 64-bit words w_0, w_1, ...; the last one is
/// filled up with zero bytes where it is short. With n the length in bytes, S = `checksum_step` and mix =
/// `checksum_mix`:
///
///     sum      = mix(w_0 + 0 * S) + mix(w_1 + 1 * S) + ... + mix(w_i + i * S) + ...
///     checksum = mix(sum + mix(n + S))
///
/// The sum's terms can be taken in any order and by any number of threads; each depends on its index, so two words that
/// changed places show. The length tells trailing zeros apart. It finds accidents, not attackers.
/// Owns nothing; pure; any thread; cannot fail.

#include <cstddef>
#include <cstdint>
#include <span>

namespace longshore {

inline constexpr uint64_t checksum_step = 0x9e3779b97f4a7c15;  ///< odd: no index below 2^64 shares its multiple
inline constexpr uint64_t checksum_word_bytes = 8;

/// The last steps of MurmurHash3's 64-bit variant: a bijection in which each bit of x moves about half of the result's.
constexpr uint64_t checksum_mix(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccd;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53;
  x ^= x >> 33;
  return x;
}

/// The sum's terms for bytes that begin at a word's index; of a stretch cut at words, the sums add up. Only the last
/// stretch may end within a word.
uint64_t checksum_words(uint64_t first_word_index, std::span<const std::byte> bytes);

/// The checksum, from the sum over all words and the length of the whole.
constexpr uint64_t checksum_of_sum(uint64_t sum, uint64_t length_bytes) {
  return checksum_mix(sum + checksum_mix(length_bytes + checksum_step));
}

uint64_t checksum(std::span<const std::byte> bytes);

}  // namespace longshore
