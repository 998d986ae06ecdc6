#include "io/system_file.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <filesystem>

#include <fcntl.h>
#include <unistd.h>

namespace longshore {
namespace {

constexpr size_t max_file_bytes = 16 << 20;

/// The kernel answers EOPNOTSUPP where pressure is not kept, and ENODEV once a cgroup is gone.
bool is_absent(int code) { return code == ENOENT || code == ENOTDIR || code == EOPNOTSUPP || code == ENODEV; }

unexpected cannot_read(const std::string& path, int code) {
  return unexpected(error{.code = errc::io_failed, .what = "cannot read", .path = path, .os_error = code});
}

expected<std::optional<std::string>> read_all(int fd, const std::string& path) {
  std::string text;
  std::array<char, 16384> part{};
  for (;;) {
    const auto count = ::read(fd, part.data(), part.size());
    if (count == 0)
      return text;
    if (count > 0)
      text.append(part.data(), static_cast<size_t>(count));
    else if (is_absent(errno))
      return std::nullopt;
    else if (errno != EINTR)
      return cannot_read(path, errno);
    if (text.size() > max_file_bytes)
      return cannot_read(path, EFBIG);
  }
}

/// A line such as "MemTotal:  24684084 kB"; nothing when there is none.
expected<std::optional<uint64_t>> kilobytes_of(std::string_view text, std::string_view first_word,
                                               const std::string& path) {
  const auto parts = line_of(text, first_word);
  if (parts.empty())
    return std::nullopt;
  const auto kilobytes = parts.size() == 3 && parts[2] == "kB" ? to_number(parts[1]) : std::nullopt;
  if (!kilobytes || *kilobytes > UINT64_MAX / 1024)
    return cannot_understand(first_word, path);
  return *kilobytes * 1024;
}

}  // namespace

expected<std::optional<std::string>> read_if_there(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && is_absent(errno))
    return std::nullopt;
  if (fd < 0)
    return cannot_read(path, errno);
  auto text = read_all(fd, path);
  ::close(fd);
  return text;
}

std::vector<std::string_view> lines(std::string_view text) {
  std::vector<std::string_view> found;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    found.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return found;
}

std::vector<std::string_view> words(std::string_view line) {
  constexpr std::string_view blanks = " \t\n";
  std::vector<std::string_view> found;
  for (auto begin = line.find_first_not_of(blanks); begin != std::string_view::npos;
       begin = line.find_first_not_of(blanks)) {
    line.remove_prefix(begin);
    const auto end = std::min(line.find_first_of(blanks), line.size());
    found.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
  return found;
}

std::vector<std::string_view> line_of(std::string_view text, std::string_view first_word) {
  for (const auto line : lines(text))
    if (line.starts_with(first_word))
      if (auto parts = words(line); parts[0] == first_word)
        return parts;
  return {};
}

std::optional<uint64_t> to_number(std::string_view text) {
  uint64_t number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  return problem == std::errc{} && end == text.data() + text.size() ? std::optional(number) : std::nullopt;
}

expected<std::optional<uint64_t>> number_of(std::string_view text, std::string_view first_word,
                                            const std::string& path) {
  const auto parts = line_of(text, first_word);
  if (parts.empty())
    return std::nullopt;
  const auto number = parts.size() == 2 ? to_number(parts[1]) : std::nullopt;
  if (!number)
    return cannot_understand(first_word, path);
  return number;
}

expected<std::optional<uint64_t>> number_in(const std::string& path) {
  const auto text = read_if_there(path);
  if (!text)
    return unexpected(text.error());
  if (!*text)
    return std::nullopt;
  const auto parts = words(**text);
  if (parts.size() == 1 && parts[0] == "max")
    return std::nullopt;
  const auto number = parts.size() == 1 ? to_number(parts[0]) : std::nullopt;
  if (!number)
    return unexpected(error{errc::bad_format, "is neither 'max' nor a number", path});
  return number;
}

expected<std::optional<machine_memory>> machine_memory_of(const std::string& root) {
  const auto path = below(root, "proc/meminfo");
  const auto text = read_if_there(path);
  if (!text)
    return unexpected(text.error());
  if (!*text)
    return std::nullopt;
  const auto total = kilobytes_of(**text, "MemTotal:", path);
  if (!total)
    return unexpected(total.error());
  if (total->value_or(0) == 0)
    return unexpected(error{errc::bad_format, "does not say how much memory there is in a line MemTotal", path});
  const auto available = kilobytes_of(**text, "MemAvailable:", path);
  if (!available)
    return unexpected(available.error());
  return machine_memory{**total, *available};
}

std::string below(const std::string& root, const std::string& path) {
  return (std::filesystem::path(root) / std::filesystem::path(path).relative_path()).string();
}

unexpected cannot_understand(std::string_view line, const std::string& path) {
  return unexpected(error{errc::bad_format, "cannot understand '" + std::string(line) + "'", path});
}

}  // namespace longshore
