#pragma once
/// Between the holder of a file that is cast in host memory and the casters: chunks on their way to that memory.
///
/// A holder sends `cast_chunk`, and each gets exactly one of `chunk_cast` or `chunk_failed` (messages/chunk.hpp). Until
/// that answer, source and destination belong to the caster. Bytes never travel in messages.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "gpu/host_cast.hpp"
#include "io/read_plan.hpp"
#include "messages/local_message.hpp"

namespace longshore {

/// Put this chunk where it belongs in the memory at `destination`. The three pointers keep what the caster uses alive,
/// also when the holder is gone by then.
struct cast_chunk {
  uint64_t load = 0;
  uint32_t index = 0;
  chunk what{};
  const std::byte* source = nullptr;  ///< the chunk's first byte; null: read it from `fd`, which has it in memory
  int fd = -1;
  std::byte* destination = nullptr;
  std::shared_ptr<const host_cast> how{};
  std::shared_ptr<const void> memory{};  ///< keeps the source
  std::shared_ptr<const void> target{};  ///< keeps the destination
};

struct chunk_cast {
  uint64_t load = 0;
  uint32_t index = 0;
};

}  // namespace longshore

LONGSHORE_LOCAL_MESSAGE(cast_chunk)
LONGSHORE_LOCAL_MESSAGE(chunk_cast)
