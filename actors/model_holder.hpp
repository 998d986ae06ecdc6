#pragma once
/// The actor that holds one file of weights: opens it, has its chunks read, keeps its bytes, and frees them when told.
/// Those of a file that is held on the device pass through slots: borrowed, read into, uploaded, and so given back.
///
/// Owns the bytes while it lives; the registry alone gives it orders, see messages/load.hpp for who says what when.
/// Limits: at most `credits` chunks with the reader. Blocking work (opening, parsing) runs on a thread of its own.
/// Failure: everything ends in `file_failed` or `file_dropped`, sent once nothing is held and no read is in flight; a
/// reader that dies fails the load.

#include <cstdint>
#include <memory>

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
  page_cache_mode page_cache = page_cache_mode::automatic;
  bool leave_in_cache = false;     ///< whether a cold read shall leave the file in the page cache
  bool open_on_own_thread = true;  ///< off in tests, where all runs in one thread
};

/// What all holders of a runtime share.
struct holder_services {
  caf::actor reader;
  caf::actor listener{};  ///< gets `load_progress`; may be null
  std::shared_ptr<arena_pool> pool;
  holder_options options{};
  std::shared_ptr<device> target{};  ///< null: there is no device, and no file is held there
  caf::actor stager{}, uploader{};   ///< of the device
};

caf::actor spawn_model_holder(caf::local_actor* registry, const start_load& order, const holder_services& services);

}  // namespace longshore
