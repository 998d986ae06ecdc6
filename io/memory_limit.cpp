#include "io/memory_limit.hpp"

#include <algorithm>
#include <vector>

#include "io/own_cgroups.hpp"
#include "io/system_file.hpp"

namespace longshore {
namespace {

expected<memory_limit> physical_memory(const std::string& root) {
  const auto machine = machine_memory_of(root);
  if (!machine)
    return unexpected(machine.error());
  if (!*machine)
    return unexpected(
        error{errc::io_failed, "cannot tell how much memory there is: no such file", below(root, "proc/meminfo")});
  return memory_limit{(*machine)->total_bytes, "physical memory"};
}

/// Lowers `limit` to what the cgroup sets. The huge number by which v1 says that there is no limit is above any
/// machine's memory, and so lowers nothing.
expected<void> apply_cgroup(const cgroup_folder& cgroup, memory_limit& limit) {
  const auto names = cgroup.is_v2 ? std::vector<std::string>{"memory.max", "memory.high"}
                                  : std::vector<std::string>{"memory.limit_in_bytes"};
  for (const auto& name : names) {
    const auto bytes = number_in(cgroup.file(name));
    if (!bytes)
      return unexpected(bytes.error());
    if (*bytes && **bytes < limit.bytes)
      limit = {**bytes, (cgroup.is_v2 ? "cgroup v2 " : "cgroup v1 ") + name + " of " + cgroup.name};
  }
  return {};
}

}  // namespace

expected<memory_limit> effective_memory_limit(const std::string& root) {
  auto limit = physical_memory(root);
  if (!limit)
    return limit;
  const auto cgroups = own_memory_cgroups(root);
  if (!cgroups)
    return unexpected(cgroups.error());
  for (const auto& cgroup : *cgroups)
    if (auto applied = apply_cgroup(cgroup, *limit); !applied)
      return unexpected(applied.error());
  return limit;
}

uint64_t default_host_limit_bytes(const memory_limit& limit, memory_share left) {
  const auto wanted_left = std::max(left.min_left_bytes, limit.bytes / 100 * left.left_percent);
  return limit.bytes - std::min(wanted_left, limit.bytes / 2);
}

}  // namespace longshore
