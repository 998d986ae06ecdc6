#pragma once
/// What to do when a read comes back: the rule that makes a chunk its exact bytes, or an error.
///
/// Owns the state of one chunk. Pure: no I/O, no clock. A short read is continued from where it stopped (rounded down
/// to the alignment for direct reads), an early end of the file is an error, transient errors (EINTR, EAGAIN, ENOMEM,
/// EBUSY) are tried again at most `max_retries` times without progress, and a file system that takes O_DIRECT only to
/// refuse the read (EINVAL, EOPNOTSUPP) is read through the page cache instead. Tries of what is busy are spaced
/// 1, 2, 4, ... ms apart, `max_wait_ms` at most.

#include <cstdint>
#include <variant>

#include "io/read_plan.hpp"

namespace longshore {

class chunk_progress {
public:
  static constexpr unsigned max_wait_ms = 1024;

  /// What to ask of the engine: a range relative to the chunk's begin. A direct length is rounded up to the alignment.
  struct attempt {
    uint64_t skip_bytes;
    uint64_t length_bytes;
    read_path path;
    friend bool operator==(const attempt&, const attempt&) = default;
  };
  struct done {};
  struct again {
    unsigned after_ms;  ///< grows with each try: what is busy now may not be in a moment
  };
  struct failed {
    int os_error;           ///< 0: the file ended early
    uint64_t offset_bytes;  ///< in the file
  };
  using verdict = std::variant<done, again, failed>;

  chunk_progress() = default;
  chunk_progress(chunk what, uint64_t alignment_bytes, unsigned max_retries = 8)
      : chunk_(what), alignment_bytes_(alignment_bytes), max_retries_(max_retries) {}

  attempt next() const;

  /// `result`: bytes that the last attempt gave, or a negative errno. A populate gives its full length or an errno.
  verdict take(int64_t result);

  const chunk& what() const { return chunk_; }

private:
  verdict take_error(int code);

  chunk chunk_{};
  uint64_t alignment_bytes_ = 4096;
  uint64_t done_bytes_ = 0;
  unsigned retries_ = 0;
  unsigned max_retries_ = 8;
};

}  // namespace longshore
