#pragma once
/// Where the files lie that come with the program: layouts and scenarios.
///
/// Owns nothing. Blocks on the file system. Any thread.

#include <optional>
#include <string>
#include <string_view>

namespace longshore {

/// The path of a file in one of the shared folders ("layouts", "scenarios"); nothing when there is none. It is looked
/// for beside the sources, for a program that was built in place, and below the prefix, for one that was installed.
std::optional<std::string> shared_file(std::string_view folder, std::string_view name);

}  // namespace longshore
