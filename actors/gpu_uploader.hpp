#pragma once
/// The actor that copies chunks to a device: queues the copies of a plan on its stream, and answers when they are over.
///
/// Owns one stream of the device and the scratch memory there that packed runs pass through. Limit: what is queued is
/// bounded by the senders' credits, which are slots. Completions come from the device as messages; only its end waits,
/// for copies that are still under way. Failure: a chunk whose copies cannot all be queued, or fail later, is
/// `upload_failed` with the device's reason, once none of its copies runs any more, or at once where the device refuses
/// to say when that is. What a copy uses lives until it is over, whoever has ended by then.

#include <chrono>
#include <cstdint>
#include <memory>

#include <caf/fwd.hpp>

#include "gpu/device.hpp"

namespace longshore {

struct gpu_uploader_options {
  uint64_t scratch_bytes = 8 << 20;  ///< at least what the longest packed run of a chunk has: a chunk is enough
  std::chrono::milliseconds settle_after = std::chrono::seconds{1};  ///< when a device that refused is asked again
};

caf::actor spawn_gpu_uploader(caf::actor_system& system, std::shared_ptr<device> target,
                              gpu_uploader_options options = {});

}  // namespace longshore
