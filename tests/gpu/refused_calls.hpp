#pragma once
/// A system that refuses memory on demand: its calls, which the linker leads through here (see tests/CMakeLists.txt).
///
/// Owns two switches; 0 lets the calls through. Thread rule: any thread.

#include <atomic>

namespace longshore {

struct refused_calls {
  static inline std::atomic<int> populate_errno = 0;  ///< of madvise, when it shall bring pages in
  static inline std::atomic<int> usable_errno = 0;    ///< of mprotect, when it shall make pages writable
  static inline std::atomic<long> refused = 0;        ///< how often
};

}  // namespace longshore
