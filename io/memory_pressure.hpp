#pragma once
/// Where the system says how short of memory it is: MemAvailable, the memory cgroups (v1 and v2), pressure stalls.
///
/// Owns paths, keeps no file open. Thread rule: `const` methods from any thread. A sample is a few reads of small files
/// of the kernel's, which never wait for a disk. The cgroups are those that the process is in when this is made.
/// Limits that count: the machine's RAM, and each cgroup's that is below it. Of a cgroup, available is the limit less
/// what is used, and of that the file pages (v2: and reclaimable kernel memory) are not counted.
/// Failure: a file that is not there is none, and what it would tell is not in the sample. One that makes no sense is
/// the sample's `problem`; the rest of the sample is as good as ever. A level of which it cannot be told how much is
/// available is left out.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cache/error.hpp"
#include "cache/memory_sample.hpp"
#include "io/own_cgroups.hpp"

namespace longshore {

class memory_pressure_source {
public:
  /// `root` is where /proc and the mount points are looked up.
  static expected<memory_pressure_source> find(const std::string& root = "/");

  memory_sample sample() const;

private:
  memory_pressure_source(std::string root, std::vector<cgroup_folder> cgroups)
      : root_(std::move(root)), cgroups_(std::move(cgroups)) {}

  std::string root_;
  std::vector<cgroup_folder> cgroups_;
};

}  // namespace longshore
