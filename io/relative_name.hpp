#pragma once
/// The rule for file names that come from a file: they name something below a folder, in one spelling.
///
/// Owns nothing; pure (looks at no disk); safe from any thread; never fails.

#include <string_view>

namespace longshore {

/// What is wrong with a relative file name ("must not be empty", ...), or empty when nothing is. Wrong are: absolute
/// names, "." and ".." and empty steps, NUL, and the backslash, which separates folders on some systems only.
std::string_view relative_name_flaw(std::string_view name);

}  // namespace longshore
