#pragma once
/// The actor that stages for a device stream: lends slots of staging memory, each the credit for one chunk on its way
/// from the disk to the device. Without a device, for casts in host memory: the slots are ordinary memory, and it asks
/// for it only as long as there is room, since borrowers can do without.
///
/// Owns the slots. Grows a slot at a time while someone waits, with the pin arbiter's leave; gives idle slots back
/// after `idle_after`. Order: loads take turns, those that someone waits for first. Limit: `staging_limit_bytes`.
/// Failure: where page-locked memory is refused, slots are ordinary memory; when there is no memory for even one slot,
/// those who wait are told why. A borrower that dies takes its waiting requests with it; slots in use come back when
/// nothing uses them.

#include <chrono>
#include <cstdint>
#include <memory>

#include <caf/actor.hpp>
#include <caf/fwd.hpp>

#include "gpu/device.hpp"
#include "io/arena.hpp"

namespace longshore {

struct stream_stager_options {
  uint64_t slot_bytes = 8 << 20;  ///< a chunk's
  uint64_t staging_limit_bytes = 256 << 20;
  std::chrono::milliseconds idle_after = std::chrono::seconds{5};
  std::chrono::milliseconds pin_timeout = std::chrono::seconds{30};
};

caf::actor spawn_stream_stager(caf::actor_system& system, std::shared_ptr<device> target,
                               std::shared_ptr<arena_pool> pool, const caf::actor& arbiter,
                               stream_stager_options options = {});

}  // namespace longshore
