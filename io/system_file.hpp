#pragma once
/// The small text files through which the system tells of itself: /proc and the cgroup file systems.
///
/// Owns nothing, keeps nothing. Any thread. Limit: 16 MiB a file, for the mounts of a machine with many containers.
/// Failure: a file that is not there is no error and has no text; `io_failed` where one cannot be read. What the
/// functions for text return points into that text.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/error.hpp"

namespace longshore {

/// The whole file; nothing where there is none, its cgroup is gone, or the kernel keeps no such record.
expected<std::optional<std::string>> read_if_there(const std::string& path);

std::vector<std::string_view> lines(std::string_view text);
std::vector<std::string_view> words(std::string_view line);

/// The first line whose first word this is, as its words; nothing when there is none.
std::vector<std::string_view> line_of(std::string_view text, std::string_view first_word);

/// A decimal number and nothing else.
std::optional<uint64_t> to_number(std::string_view text);

/// The number in a line such as "oom 3" among others; nothing when there is no such line.
expected<std::optional<uint64_t>> number_of(std::string_view text, std::string_view first_word,
                                            const std::string& path);

/// The number that is all there is in a file; nothing when that says "max", or there is no file.
expected<std::optional<uint64_t>> number_in(const std::string& path);

struct machine_memory {
  uint64_t total_bytes = 0;
  std::optional<uint64_t> available_bytes{};  ///< what can be had without swapping, by the kernel's estimate
};

/// What /proc/meminfo says; `root` is where /proc is looked up. Nothing when there is no such file.
expected<std::optional<machine_memory>> machine_memory_of(const std::string& root = "/");

/// The path of a file below `root`, however many slashes either has.
std::string below(const std::string& root, const std::string& path);

/// `bad_format`, about a line that cannot be understood.
unexpected cannot_understand(std::string_view line, const std::string& path);

}  // namespace longshore
