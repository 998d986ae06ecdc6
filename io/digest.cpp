#include "io/digest.hpp"

#include <array>
#include <cstdio>

#include <xxhash.h>

namespace longshore {

namespace {

std::string hex(const XXH128_hash_t& hash) {
  std::array<char, 33> text{};
  std::snprintf(text.data(), text.size(), "%016llx%016llx", static_cast<unsigned long long>(hash.high64),
                static_cast<unsigned long long>(hash.low64));
  return text.data();
}

}  // namespace

std::string xxh3_128_hex(std::span<const std::byte> bytes) { return hex(XXH3_128bits(bytes.data(), bytes.size())); }

struct xxh3_128_stream::state {
  XXH3_state_t* xxh = XXH3_createState();  // the library's own allocation: the type wants 64-byte alignment
  ~state() { XXH3_freeState(xxh); }
};

xxh3_128_stream::xxh3_128_stream() : state_(std::make_unique<state>()) { XXH3_128bits_reset(state_->xxh); }

xxh3_128_stream::~xxh3_128_stream() = default;

void xxh3_128_stream::add(std::span<const std::byte> bytes) {
  XXH3_128bits_update(state_->xxh, bytes.data(), bytes.size());
}

std::string xxh3_128_stream::finish_hex() {
  auto text = hex(XXH3_128bits_digest(state_->xxh));
  XXH3_128bits_reset(state_->xxh);
  return text;
}

}  // namespace longshore
