#pragma once
/// A memory cgroup of the test's own, v1 or v2, in which a child process can run.
///
/// Owns the cgroup, which is removed at the end; by then its processes must be gone. Thread rule: the test's thread.
/// Failure: `problem()` says why there is none.

#include <cstdint>
#include <string>

namespace longshore {

class memory_cgroup {
public:
  explicit memory_cgroup(uint64_t limit_bytes);
  ~memory_cgroup();
  memory_cgroup(const memory_cgroup&) = delete;
  memory_cgroup& operator=(const memory_cgroup&) = delete;

  /// Empty when all is well.
  const std::string& problem() const { return problem_; }

  bool is_v1() const { return is_v1_; }

  /// Below the top of its hierarchy: "/longshore-test-1".
  const std::string& name() const { return name_; }

  /// Moves the calling process in. System calls alone, so that a child may do it between fork and exec.
  bool enter() const;

private:
  void set(const std::string& file, const std::string& value);

  bool is_v1_ = false;
  std::string name_;
  std::string path_;
  std::string processes_path_;
  std::string problem_;
};

}  // namespace longshore
