#include "io/own_cgroups.hpp"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "io/system_file.hpp"

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
struct cgroup_names {
  std::optional<std::string> v1{};
  std::optional<std::string> v2{};
};

bool has_item(std::string_view list, std::string_view item) {
  return ("," + std::string(list) + ",").find("," + std::string(item) + ",") != std::string::npos;
}

/// Undoes the kernel's \040 for a blank, and its like.
std::string without_octal(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto digits = text.substr(i + 1, 3);
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

/// Lines such as "4:memory:/a/b" (v1) and "0::/a/b" (v2).
expected<cgroup_names> own_names(const std::string& root) {
  const auto path = below(root, "proc/self/cgroup");
  const auto text = read_if_there(path);
  if (!text)
    return unexpected(text.error());
  cgroup_names own;
  const auto content = text->value_or("");
  for (const auto line : lines(content)) {
    const auto first = line.find(':');
    const auto second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos || line.substr(second + 1, 1) != "/")
      return cannot_understand(line, path);
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
expected<std::vector<cgroup_mount>> memory_mounts(const std::string& root) {
  const auto path = below(root, "proc/self/mountinfo");
  const auto text = read_if_there(path);
  if (!text)
    return unexpected(text.error());
  std::vector<cgroup_mount> mounts;
  const auto content = text->value_or("");
  for (const auto line : lines(content)) {
    const auto parts = words(line);
    const auto dash = std::find(parts.begin(), parts.end(), "-");
    if (dash - parts.begin() < 6 || parts.end() - dash < 2)
      return cannot_understand(line, path);
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

}  // namespace

expected<std::vector<cgroup_folder>> own_memory_cgroups(const std::string& root) {
  const auto own = own_names(root);
  if (!own)
    return unexpected(own.error());
  const auto mounts = memory_mounts(root);
  if (!mounts)
    return unexpected(mounts.error());
  std::vector<cgroup_folder> found;
  for (const auto& mount : *mounts) {
    const auto& name = mount.is_v2 ? own->v2 : own->v1;
    if (!name)
      continue;
    const auto mounted = below(root, mount.mount_point);
    for (auto at = below_mount(*name, mount.top);; at = at.parent_path()) {
      found.push_back({mount.is_v2, at.string(), at == "/" ? mounted : mounted + at.string()});
      if (at == "/")
        break;
    }
  }
  return found;
}

}  // namespace longshore
