#pragma once
/// Who counts the arenas without asking the pool that makes them: the kernel, and the system calls themselves.
///
/// `arena_bytes_in_smaps` reads the process's own mappings as the kernel lists them; the list is not taken in one
/// instant, so it is for one thread at a time. `arena_calls` counts at the calls that map and unmap, which the linker
/// leads through here (see tests/CMakeLists.txt), and so sees every instant of any number of threads.
/// Limits: both know an arena by what only arenas do (memory made writable by mprotect, huge pages asked for).

#include <cstdint>

namespace longshore {

uint64_t arena_bytes_in_smaps();

struct arena_calls {
  static uint64_t bytes_now();
  static uint64_t bytes_at_most();  ///< since the last `forget_most`
  static void forget_most();
};

}  // namespace longshore
