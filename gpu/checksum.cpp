#include "gpu/checksum.hpp"

#include <bit>
#include <cstring>

namespace longshore {

static_assert(std::endian::native == std::endian::little, "words are read as they lie in memory");

uint64_t checksum_words(uint64_t first_word_index, std::span<const std::byte> bytes) {
  const auto whole_words = bytes.size() / checksum_word_bytes;
  auto salt = first_word_index * checksum_step;
  uint64_t sum = 0, word = 0;
  for (size_t i = 0; i < whole_words; ++i, salt += checksum_step) {
    std::memcpy(&word, bytes.data() + i * checksum_word_bytes, checksum_word_bytes);
    sum += checksum_mix(word + salt);
  }
  if (const auto tail = bytes.subspan(whole_words * checksum_word_bytes); !tail.empty()) {
    word = 0;
    std::memcpy(&word, tail.data(), tail.size());
    sum += checksum_mix(word + salt);
  }
  return sum;
}

uint64_t checksum(std::span<const std::byte> bytes) { return checksum_of_sum(checksum_words(0, bytes), bytes.size()); }

}  // namespace longshore
