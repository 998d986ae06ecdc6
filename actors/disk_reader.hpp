#pragma once
/// The actor that reads: takes `read_chunk`s of many loads in fair turns, keeps the engine's depth full, and answers
/// each exactly once, with the bytes in place or a reason.
///
/// Owns the engine and the queue. Limit: the engine's depth in flight; queued chunks are bounded by the holders'
/// credits. Failure: what a read cannot give is `chunk_failed` with errno and offset; transient errors are tried again
/// within `max_retries` first. A holder that goes down takes its queued chunks with it; those in flight finish into
/// memory that their message keeps alive. On exit it waits for what is in flight.

#include <functional>
#include <memory>

#include <caf/fwd.hpp>

#include "io/read_engine.hpp"

namespace longshore {

struct disk_reader_options {
  unsigned max_retries = 8;  ///< of a transient error, in a row, a chunk
};

/// Makes the reader's engine, given where completions go. The engine was tried before, so this does not fail.
using engine_factory = std::function<std::unique_ptr<read_engine>(completion_callback)>;

caf::actor spawn_disk_reader(caf::actor_system& system, engine_factory make_engine, disk_reader_options options = {});

}  // namespace longshore
