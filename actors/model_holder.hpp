#pragma once
/// The actor that holds one file of weights in host memory: opens it, has its chunks read, keeps its bytes, and frees
/// them when told. For files on the device see actors/device_holder.hpp, for those that are cast
/// actors/cast_holder.hpp.
///
/// Owns the bytes while it lives; the registry alone gives it orders, see messages/load.hpp for who says what when. The
/// pin arbiter grants the memory, and the pins of a file that is held `pinned`: a segment is page-locked as soon as the
/// reads have filled it. Asked for pins back, it lets go of them, and they end once no copy uses them; asked for all,
/// it asks the registry. Lends ranges to the holder of the same file on the device (messages/host_copy.hpp).
/// Limits: at most `credits` chunks with the reader. Blocking work (opening, parsing) runs on a thread of its own.
/// Failure: everything ends in `file_failed` or `file_dropped`, sent once nothing is held and no read is in flight; a
/// reader that dies fails the load. Pins that are refused are no failure.

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include <caf/actor.hpp>
#include <caf/fwd.hpp>

#include "cache/registry_types.hpp"
#include "gpu/device.hpp"
#include "io/arena.hpp"
#include "io/read_plan.hpp"

namespace longshore {

struct holder_options {
  size_t credits = 16;  ///< twice the engine's depth: the reader never waits for a message
  uint64_t chunk_bytes = 8 << 20;
  uint64_t pin_segment_bytes = 32 << 20;  ///< what is page-locked and given back at a time; whole huge pages
  page_cache_mode page_cache = page_cache_mode::automatic;
  bool leave_in_cache = false;     ///< whether a cold read shall leave the file in the page cache
  bool open_on_own_thread = true;  ///< and touch memory on one; off in tests, where all runs in one thread
  std::chrono::milliseconds memory_timeout = std::chrono::seconds{30};  ///< for the arbiter's answers
};

/// One of the device's streams: who lends the memory to stage for it, and who copies in it.
struct device_lane {
  caf::actor stager, uploader;
};

/// Who serves casts in host memory: one lends the memory to read into, the others cast. All null: nobody does.
struct host_casting {
  caf::actor stager;
  std::vector<caf::actor> casters;

  std::vector<caf::actor> all() const;
};

/// What all holders of a runtime share.
struct holder_services {
  caf::actor reader;
  caf::actor arbiter;
  caf::actor listener{};  ///< gets `load_progress`; may be null
  std::shared_ptr<arena_pool> pool;
  holder_options options{};
  std::shared_ptr<device> target{};  ///< null: there is no device, and no file is held there
  std::vector<device_lane> lanes{};  ///< of the device; files take them in turn
  caf::actor copier{};               ///< of the device
  caf::actor keeper{};               ///< of the device's streams
  host_casting casting{};
};

caf::actor spawn_model_holder(caf::local_actor* registry, const start_load& order, const holder_services& services);

}  // namespace longshore
