#pragma once
/// What a request does with what the cache already holds. Owns nothing; plain values, any thread.

#include <cstdint>
#include <optional>
#include <string_view>

namespace longshore {

enum class cache_mode : uint8_t {
  automatic,       ///< use what is there if it comes from the same files, else load
  override_cache,  ///< always read anew
  read_only,       ///< use what is there or on its way, never start a load
  unshared,        ///< read for this request alone: nobody else gets its memory, and no key leads to it
};

/// "auto", "override", "read_only" or "unshared".
std::string_view name(cache_mode mode);

/// The mode of that name; nothing when there is none.
std::optional<cache_mode> cache_mode_from_name(std::string_view text);

}  // namespace longshore
