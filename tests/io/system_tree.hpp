#pragma once
/// A made-up machine for what reads /proc and cgroups: real files below a folder of the test's own, with 16 GiB of RAM.
///
/// Owns the folder until the end of the test. One thread. Fails by std::runtime_error, which fails the test.

#include <filesystem>
#include <string>

#include "tests/io/test_files.hpp"

namespace longshore {

class system_tree {
public:
  static inline const std::string v1_mount =
      "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";
  static inline const std::string v2_mount = "41 31 0:38 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw\n";
  static inline const std::string disk_mount = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n";

  system_tree() { write("proc/meminfo", "MemTotal:       16777216 kB\nMemFree:        1024 kB\n"); }

  void write(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(folder_ / path).parent_path());
    write_file(folder_ / path, text);
  }
  void processes(const std::string& cgroup, const std::string& mountinfo) {
    write("proc/self/cgroup", cgroup);
    write("proc/self/mountinfo", mountinfo);
  }
  void remove(const std::string& path) { fs::remove_all(folder_ / path); }

  const std::string& root() const { return folder_.path().native(); }
  std::string operator/(const std::string& path) const { return folder_ / path; }

private:
  test_folder folder_;
};

}  // namespace longshore
