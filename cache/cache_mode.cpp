#include "cache/cache_mode.hpp"

namespace longshore {

std::string_view name(cache_mode mode) {
  switch (mode) {
    case cache_mode::automatic:
      return "auto";
    case cache_mode::override_cache:
      return "override";
    case cache_mode::read_only:
      return "read_only";
    case cache_mode::unshared:
      return "unshared";
  }
  return "unknown";
}

std::optional<cache_mode> cache_mode_from_name(std::string_view text) {
  for (auto mode : {cache_mode::automatic, cache_mode::override_cache, cache_mode::read_only, cache_mode::unshared})
    if (name(mode) == text)
      return mode;
  return std::nullopt;
}

}  // namespace longshore
