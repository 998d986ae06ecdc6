#pragma once
/// Finds a name that a list holds twice, in n log n whatever the names are. Internal to io/.
///
/// Owns nothing; pure; safe from any thread; never fails.

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace longshore {

/// The index of the first entry whose name an earlier entry has.
std::optional<size_t> repeated_name(std::span<const std::string_view> names);

}  // namespace longshore
