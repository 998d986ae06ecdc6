#pragma once
/// What a piece of work costs this process: CPU seconds and the most memory it had. Owns nothing; any thread.

#include <cstdint>

namespace longshore {

/// User and system time of all threads so far, those of the kernel that work for this process included.
double cpu_seconds();

/// The most memory that the process has had in RAM so far (VmHWM).
uint64_t peak_rss_bytes();

}  // namespace longshore
