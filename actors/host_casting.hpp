#pragma once
/// The actors that serve casts in host memory: one lends scratch memory for what comes from the disk, the others cast.
///
/// Owns nothing. Nothing of it takes memory or time before the first cast.

#include <cstdint>
#include <memory>

#include <caf/fwd.hpp>

#include "actors/model_holder.hpp"
#include "gpu/host_cast.hpp"
#include "io/arena.hpp"

namespace longshore {

struct host_casting_options {
  size_t casters = 2;
  uint64_t scratch_bytes = 64 << 20;  ///< of all loads together
  uint64_t chunk_bytes = 8 << 20;     ///< what a slot of it has room for
  bool on_own_threads = true;         ///< off in tests, where all runs in one
  piece_reader read = read_piece;     ///< from the page cache
};

/// Scratch memory comes from `pool`, with the leave of `arbiter`.
host_casting spawn_host_casting(caf::actor_system& system, const std::shared_ptr<arena_pool>& pool,
                                const caf::actor& arbiter, const host_casting_options& options = {});

}  // namespace longshore
