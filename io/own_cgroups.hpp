#pragma once
/// Which memory cgroups this process is in, and where the files about them are.
///
/// Owns nothing, keeps nothing. Any thread. A cgroup that the mount does not show, as in many containers, is taken to
/// be the top of the mount. A machine without cgroups has none. Failure: `io_failed` where a file that is there cannot
/// be read, `bad_format` where one makes no sense.

#include <string>
#include <vector>

#include "cache/error.hpp"

namespace longshore {

struct cgroup_folder {
  bool is_v2 = false;
  std::string name;    ///< "/a/b", "/" at the top of its mount
  std::string folder;  ///< where its files are

  std::string file(const std::string& file_name) const { return folder + "/" + file_name; }
  std::string title() const { return (is_v2 ? "cgroup v2 " : "cgroup v1 ") + name; }
};

/// Of each mounted hierarchy that has memory, or may have it: the process's own first, then its ancestors up to the
/// top. `root` is where /proc and the mount points are looked up.
expected<std::vector<cgroup_folder>> own_memory_cgroups(const std::string& root = "/");

}  // namespace longshore
