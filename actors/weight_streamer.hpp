#pragma once
/// The actor that streams a model's layers through device memory: brings those that are used next while the present one
/// computes, and takes the place of those that are used last.
///
/// What stays, what goes and how far ahead copies run is the rule's to say (cache/stream_rule). Each unit comes from
/// where it is: a page-locked host copy, a pageable one by way of staging slots, or the disk by way of slots.
/// Owns the units' device memory but for what users hold. Limits: `budget_bytes` of device memory, `credits` chunks
/// under way. Deadlines: each `acquire_layer` has one. Failure: a layer that cannot come is answered with the reason,
/// and tried again when it is asked for again; when a partner has ended, all is `stopped`.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <caf/actor.hpp>
#include <caf/fwd.hpp>

#include "actors/model_holder.hpp"
#include "gpu/layer_plan.hpp"
#include "io/open_model.hpp"

namespace longshore {

/// Where the bytes of a file come from: its holder in host memory, or the open file, or, with both, the former first.
struct streamed_file {
  std::string path;
  std::shared_ptr<const opened_file> file{};
  caf::actor host_copy{};
  std::shared_ptr<const void> keep{};  ///< the lease of the host copy
};

struct weight_streamer_options {
  uint64_t budget_bytes = 0;
  uint64_t load = 0;  ///< its number at the stager and the reader, unlike any file's
  size_t credits = 16;
  plan_options reading{};
};

/// `files`: those of the plan, in its order. `services`: of its lanes the streamer uses the given one.
caf::actor spawn_weight_streamer(caf::actor_system& system, std::shared_ptr<const layer_plan> plan,
                                 std::vector<streamed_file> files, const holder_services& services,
                                 const device_lane& lane, const weight_streamer_options& options);

}  // namespace longshore
