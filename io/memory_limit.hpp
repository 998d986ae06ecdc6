#pragma once
/// How much memory this process may take before the system stops or throttles it, and how much of that a cache may
/// have.
///
/// Owns nothing; reads /proc and the cgroup file systems when called, keeps nothing. Any thread.
/// The limit is the lowest of: the machine's RAM, and what the process's memory cgroup and each of its ancestors allow
/// (v1 `memory.limit_in_bytes`; v2 `memory.max`, and `memory.high`, above which the kernel makes a process crawl).
/// What is in use already is not subtracted: the file pages in it are given back by the kernel when asked for, and the
/// rest is what the share that `default_host_limit_bytes` leaves is for.
/// Failure: `io_failed` where a file that must be there cannot be read, `bad_format` where one makes no sense; a limit
/// that cannot be understood is never taken for none. A machine without cgroups has the limit of its RAM.

#include <cstdint>
#include <string>

#include "cache/error.hpp"

namespace longshore {

struct memory_limit {
  uint64_t bytes = 0;
  std::string source;  ///< where it comes from, such as "cgroup v2 memory.max of /a/b"
};

/// `root` is where /proc and the mount points are looked up.
expected<memory_limit> effective_memory_limit(const std::string& root = "/");

/// What a cache leaves to the rest: its own process, the page cache that reads go through, and the machine.
struct memory_share {
  uint64_t min_left_bytes = uint64_t{2} << 30;
  uint64_t left_percent = 20;
};

/// The limit less the larger of the two shares, but never less than half: a fifth is enough on a large machine, a
/// Python process with torch needs about 2 GiB on any, and on a small one a cache that gets nothing is of no use.
uint64_t default_host_limit_bytes(const memory_limit& limit, memory_share left = {});

}  // namespace longshore
