#pragma once
/// How short of memory the machine is at one moment, as far as the system says.
///
/// Owns nothing. Plain values, any thread. Each source is optional: what the system does not tell is not there.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cache/error.hpp"

namespace longshore {

/// How long tasks stood still for want of memory: the line "some" of the kernel's pressure stall information.
struct memory_stall {
  double share = 0;       ///< of the last ten seconds, 0 to 1
  uint64_t total_us = 0;  ///< ever
};

/// How often a limit was met. Counters that only rise.
struct memory_events {
  uint64_t high = 0;  ///< throttled at cgroup v2's memory.high
  uint64_t max = 0;   ///< held back at the hard limit: v2's memory.max, v1's limit_in_bytes
  uint64_t oom = 0;   ///< nothing was left to be given back, or a process was killed for it
};

/// One limit that the process lives under.
struct memory_level {
  std::string name;  ///< "physical memory", "cgroup v2 /a/b", or a device's
  uint64_t limit_bytes = 0;
  uint64_t available_bytes = 0;  ///< file pages, which the kernel gives back when asked for, are not counted as used
  uint64_t over_bytes = 0;       ///< used beyond the limit, where that can be: above cgroup v2's memory.high
  std::optional<memory_stall> stall{};
  std::optional<memory_events> events{};
};

struct memory_sample {
  std::vector<memory_level> host{};      ///< each limit on host memory
  std::optional<memory_level> device{};  ///< the device's own memory
  error problem{};                       ///< the first source that makes no sense; code 0: all do
};

}  // namespace longshore
