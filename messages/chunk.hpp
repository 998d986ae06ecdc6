#pragma once
/// Between a holder, the disk reader and its engine: pieces of files.
///
/// A holder sends at most its credits of `read_chunk`s, and each gets exactly one of `chunk_read`, `chunk_failed` or
/// `chunk_cancelled`. Until that answer, the destination belongs to the reader alone. Bytes never travel in messages.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "io/read_engine.hpp"
#include "io/read_plan.hpp"
#include "messages/local_message.hpp"

namespace longshore {

/// Read this chunk to `destination`. `memory` keeps the destination and the descriptors alive while it is read, also
/// when the holder is gone by then.
struct read_chunk {
  uint64_t load = 0;  ///< the sender's file_id: reads are shared out between loads by it
  uint32_t index = 0;
  bool urgent = false;
  chunk what{};
  int fd = -1;
  int direct_fd = -1;
  uint64_t alignment_bytes = 4096;
  std::byte* destination = nullptr;
  std::shared_ptr<const void> memory{};
};

struct chunk_read {
  uint64_t load = 0;
  uint32_t index = 0;
  read_path via{};  ///< how it came in the end: a refused direct read is made through the page cache
};

struct chunk_failed {
  uint64_t load = 0;
  uint32_t index = 0;
  int os_error = 0;  ///< 0: the file ends early
  uint64_t offset_bytes = 0;
};

struct chunk_cancelled {
  uint64_t load = 0;
  uint32_t index = 0;
};

/// Someone waits for this load now.
struct hurry_reads {
  uint64_t load = 0;
};

/// The load's queued chunks come back as `chunk_cancelled`; those under way finish as usual.
struct cancel_reads {
  uint64_t load = 0;
};

/// The reader to itself: the time has come to try this read again.
struct retry_read {
  uint64_t tag = 0;
};

}  // namespace longshore

LONGSHORE_LOCAL_MESSAGE(read_chunk)
LONGSHORE_LOCAL_MESSAGE(chunk_read)
LONGSHORE_LOCAL_MESSAGE(chunk_failed)
LONGSHORE_LOCAL_MESSAGE(chunk_cancelled)
LONGSHORE_LOCAL_MESSAGE(hurry_reads)
LONGSHORE_LOCAL_MESSAGE(cancel_reads)
LONGSHORE_LOCAL_MESSAGE(retry_read)
LONGSHORE_LOCAL_MESSAGE(read_completion)
