#pragma once
/// XXH3-128 of bytes, as 32 hex digits (the canonical big-endian form, as `xxhsum -H2` prints it). About as fast as
/// memory; tells a flipped bit, not an attacker.

#include <cstddef>
#include <span>
#include <string>

namespace longshore {

std::string xxh3_128_hex(std::span<const std::byte> bytes);

}  // namespace longshore
