#include "io/memory_limit.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>
#include <vector>

namespace longshore {
namespace {

namespace fs = std::filesystem;

/// One mounted cgroup hierarchy: the cgroup at its top, and where it is mounted.
struct cgroup_mount {
  bool is_v2 = false;
  std::string top;
  std::string mount_point;
};

/// The cgroups this process is in, as far as memory goes; nothing where there is no such hierarchy.
struct own_cgroups {
  std::optional<std::string> v1{};
  std::optional<std::string> v2{};
};

unexpected bad_format(const fs::path& file, const std::string& what) {
  return unexpected(error{errc::bad_format, what, file.string()});
}

/// The whole file; nothing when there is none.
expected<std::optional<std::string>> read_if_there(const fs::path& file) {
  std::error_code problem;
  if (!fs::exists(file, problem) && !problem)
    return std::nullopt;
  std::ifstream in(file);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in.is_open() || in.bad() || fs::is_directory(file, problem))
    return unexpected(error{errc::io_failed, "cannot read", file.string()});
  return text.str();
}

std::optional<uint64_t> to_number(std::string_view text) {
  uint64_t number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  return problem == std::errc{} && end == text.data() + text.size() ? std::optional(number) : std::nullopt;
}

std::vector<std::string> words(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> found;
  for (std::string word; in >> word;)
    found.push_back(word);
  return found;
}

bool has_item(const std::string& list, const std::string& item) {
  return ("," + list + ",").find("," + item + ",") != std::string::npos;
}

/// Undoes the kernel's \040 for a blank, and its like.
std::string without_octal(const std::string& text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto digits = std::string_view(text).substr(i + 1, 3);
    const bool escaped = text[i] == '\\' && digits.size() == 3 &&
                         std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '7'; });
    if (!escaped) {
      plain += text[i];
      continue;
    }
    plain += static_cast<char>((digits[0] - '0') * 64 + (digits[1] - '0') * 8 + (digits[2] - '0'));
    i += 3;
  }
  return plain;
}

expected<memory_limit> physical_memory(const fs::path& root) {
  const auto file = root / "proc/meminfo";
  auto text = read_if_there(file);
  if (!text)
    return unexpected(text.error());
  if (!*text)
    return unexpected(error{errc::io_failed, "cannot tell how much memory there is: no such file", file.string()});
  std::istringstream in(**text);
  for (std::string line; std::getline(in, line);) {
    const auto parts = words(line);
    if (parts.empty() || parts[0] != "MemTotal:")
      continue;
    const auto kilobytes = parts.size() == 3 && parts[2] == "kB" ? to_number(parts[1]) : std::nullopt;
    if (!kilobytes || *kilobytes == 0 || *kilobytes > UINT64_MAX / 1024)
      return bad_format(file, "cannot understand '" + line + "'");
    return memory_limit{*kilobytes * 1024, "physical memory"};
  }
  return bad_format(file, "has no line MemTotal");
}

/// Lines such as "4:memory:/a/b" (v1) and "0::/a/b" (v2).
expected<own_cgroups> own_cgroups_of(const fs::path& root) {
  const auto file = root / "proc/self/cgroup";
  auto text = read_if_there(file);
  if (!text)
    return unexpected(text.error());
  own_cgroups own;
  std::istringstream in(text->value_or(""));
  for (std::string line; std::getline(in, line);) {
    const auto first = line.find(':');
    const auto second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos || line.substr(second + 1, 1) != "/")
      return bad_format(file, "cannot understand '" + line + "'");
    const auto controllers = line.substr(first + 1, second - first - 1);
    if (line.starts_with("0::"))
      own.v2 = line.substr(second + 1);
    else if (has_item(controllers, "memory"))
      own.v1 = line.substr(second + 1);
  }
  return own;
}

/// Lines such as "35 31 0:32 /top /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory", the words before the
/// dash being six or more.
expected<std::vector<cgroup_mount>> memory_mounts(const fs::path& root) {
  const auto file = root / "proc/self/mountinfo";
  auto text = read_if_there(file);
  if (!text)
    return unexpected(text.error());
  std::vector<cgroup_mount> mounts;
  std::istringstream in(text->value_or(""));
  for (std::string line; std::getline(in, line);) {
    const auto parts = words(line);
    const auto dash = std::find(parts.begin(), parts.end(), "-");
    if (dash - parts.begin() < 6 || parts.end() - dash < 2)
      return bad_format(file, "cannot understand '" + line + "'");
    const bool is_v2 = dash[1] == "cgroup2";
    const bool is_v1_memory = dash[1] == "cgroup" && has_item(parts.back(), "memory");
    if (is_v2 || is_v1_memory)
      mounts.push_back({is_v2, without_octal(parts[3]), without_octal(parts[4])});
  }
  return mounts;
}

/// Where the cgroup is below the mount point: "/" when it is the top, or is not shown there.
fs::path below_mount(const std::string& cgroup, const std::string& top) {
  const auto relative = fs::path(cgroup).lexically_normal().lexically_relative(fs::path(top).lexically_normal());
  if (cgroup.find("/..") != std::string::npos || relative.empty() || *relative.begin() == ".." || relative == ".")
    return "/";
  return "/" / relative;
}

/// The number in one limit file; nothing when it says "max" or is not there.
expected<std::optional<uint64_t>> limit_in(const fs::path& file) {
  auto text = read_if_there(file);
  if (!text)
    return unexpected(text.error());
  const auto parts = words(text->value_or("max"));
  if (parts.size() == 1 && parts[0] == "max")
    return std::nullopt;
  const auto number = parts.size() == 1 ? to_number(parts[0]) : std::nullopt;
  if (!number)
    return bad_format(file, "is neither 'max' nor a number of bytes");
  return number;
}

/// Lowers `limit` to the lowest that the cgroup or one of its ancestors sets. The huge number by which v1 says that
/// there is no limit is above any machine's memory, and so lowers nothing.
expected<void> apply_cgroup(const fs::path& root, const cgroup_mount& mount, const std::string& cgroup,
                            memory_limit& limit) {
  const auto names = mount.is_v2 ? std::vector<std::string>{"memory.max", "memory.high"}
                                 : std::vector<std::string>{"memory.limit_in_bytes"};
  const auto mounted = root / fs::path(mount.mount_point).relative_path();
  for (auto below = below_mount(cgroup, mount.top);; below = below.parent_path()) {
    for (const auto& name : names) {
      auto bytes = limit_in(mounted / below.relative_path() / name);
      if (!bytes)
        return unexpected(bytes.error());
      if (*bytes && **bytes < limit.bytes)
        limit = {**bytes, std::string(mount.is_v2 ? "cgroup v2 " : "cgroup v1 ") + name + " of " + below.string()};
    }
    if (below == "/")
      return {};
  }
}

}  // namespace

expected<memory_limit> effective_memory_limit(const std::string& root) {
  auto limit = physical_memory(root);
  if (!limit)
    return limit;
  const auto own = own_cgroups_of(root);
  if (!own)
    return unexpected(own.error());
  const auto mounts = memory_mounts(root);
  if (!mounts)
    return unexpected(mounts.error());
  for (const auto& mount : *mounts) {
    const auto& cgroup = mount.is_v2 ? own->v2 : own->v1;
    if (!cgroup)
      continue;
    if (auto applied = apply_cgroup(root, mount, *cgroup, *limit); !applied)
      return unexpected(applied.error());
  }
  return limit;
}

uint64_t default_host_limit_bytes(const memory_limit& limit, memory_share left) {
  const auto wanted_left = std::max(left.min_left_bytes, limit.bytes / 100 * left.left_percent);
  return limit.bytes - std::min(wanted_left, limit.bytes / 2);
}

}  // namespace longshore
