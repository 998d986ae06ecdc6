#pragma once
/// XXH3-128 of bytes, as 32 hex digits (the canonical big-endian form, as `xxhsum -H2` prints it). About as fast as
/// memory; tells a flipped bit, not an attacker.

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace longshore {

std::string xxh3_128_hex(std::span<const std::byte> bytes);

/// The same over bytes that come in pieces. One thread at a time.
class xxh3_128_stream {
public:
  xxh3_128_stream();
  ~xxh3_128_stream();
  xxh3_128_stream(const xxh3_128_stream&) = delete;
  xxh3_128_stream& operator=(const xxh3_128_stream&) = delete;

  void add(std::span<const std::byte> bytes);

  /// The digest of what was added, after which the stream begins anew.
  std::string finish_hex();

private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace longshore
