#pragma once
/// The streams of a device, each with the actors that serve it: how staging memory is shared out between them.
///
/// Owns nothing. Failure: `bad_argument` where staging memory has no room for a slot of each stream.

#include <cstdint>
#include <memory>
#include <vector>

#include <caf/fwd.hpp>

#include "actors/model_holder.hpp"
#include "cache/error.hpp"

namespace longshore {

struct device_lane_options {
  size_t streams = 1;
  uint64_t staging_bytes = 256 << 20;  ///< of all streams together
  uint64_t chunk_bytes = 8 << 20;      ///< what a slot, and the scratch memory of a stream, have room for
};

/// Whether each stream gets a slot, and the host limit is more than staging alone.
expected<void> check_staging(const device_lane_options& options, uint64_t host_limit_bytes);

/// Slots come from `pool`, with the leave of `arbiter`.
std::vector<device_lane> spawn_device_lanes(caf::actor_system& system, const std::shared_ptr<device>& target,
                                            const std::shared_ptr<arena_pool>& pool, const caf::actor& arbiter,
                                            const device_lane_options& options);

}  // namespace longshore
