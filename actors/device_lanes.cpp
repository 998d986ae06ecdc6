#include "actors/device_lanes.hpp"

#include <string>

#include <caf/actor_system.hpp>

#include "actors/gpu_uploader.hpp"
#include "actors/stream_stager.hpp"

namespace longshore {

expected<void> check_staging(const device_lane_options& options, uint64_t host_limit_bytes) {
  const auto slot_bytes = arena_pool::rounded(options.chunk_bytes);
  if (options.streams > 0 && options.staging_bytes / options.streams >= slot_bytes &&
      options.staging_bytes < host_limit_bytes)
    return {};
  return unexpected(error{.code = errc::bad_argument,
                          .what = "staging memory must have room for a slot of " + std::to_string(slot_bytes) +
                                  " bytes for each of the device's streams, of which there is at least one, and be "
                                  "less than the host limit of " +
                                  std::to_string(host_limit_bytes)});
}

std::vector<device_lane> spawn_device_lanes(caf::actor_system& system, const std::shared_ptr<device>& target,
                                            const std::shared_ptr<arena_pool>& pool, const caf::actor& arbiter,
                                            const device_lane_options& options) {
  std::vector<device_lane> lanes;
  for (size_t i = 0; i < options.streams; ++i)
    lanes.push_back({spawn_stream_stager(system, target, pool, arbiter,
                                         {.slot_bytes = arena_pool::rounded(options.chunk_bytes),
                                          .staging_limit_bytes = options.staging_bytes / options.streams}),
                     spawn_gpu_uploader(system, target, {.scratch_bytes = options.chunk_bytes})});
  return lanes;
}

}  // namespace longshore
