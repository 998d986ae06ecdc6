#pragma once
/// Which known names a mistyped one may have meant: the "did you mean" of error messages.
///
/// Owns nothing; pure; safe from any thread; never fails (nothing near is an empty answer).
/// Limits: at most `max_results` names; of two names, at most `max_compared_bytes` bytes each are compared after their
/// common ends are cut off, so one candidate costs at most the square of that.

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace longshore {

struct nearest_limits {
  size_t max_results = 3;
  size_t max_compared_bytes = 64;
  size_t min_contained_bytes = 3;  ///< shorter parts of a name are in too many names to be a hint
};

/// Candidates near `wanted`, the nearest first, equals in alphabetical order, each once. The measure is the number of
/// letters to insert, delete, change or swap with the next, case aside. Near means: at most a third of the longer name
/// or of what is compared of it (two for short names), and some letter stays; or that the candidate contains all of
/// `wanted`, as "sd15" is in "sd15.safetensors".
std::vector<std::string> nearest(std::string_view wanted, std::span<const std::string> candidates,
                                 nearest_limits limits = {});

/// The same as words to put behind a message: `; did you mean "a" or "b"?`, or nothing.
std::string did_you_mean(std::string_view wanted, std::span<const std::string> candidates, nearest_limits limits = {});

}  // namespace longshore
