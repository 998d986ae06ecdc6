#pragma once
/// The actors of a runtime, wired to a simulated disk and device instead of real ones.
///
/// Owns handles and the two pools that their memory comes from; disk and device are the caller's and outlive the
/// actors. One thread. Failure: `bad_argument` where the machine's limits leave no room for what a runtime needs.

#include <functional>
#include <memory>
#include <vector>

#include <caf/actor.hpp>
#include <caf/fwd.hpp>

#include "actors/model_holder.hpp"
#include "app/simulate/scenario.hpp"
#include "app/simulate/simulated_device.hpp"
#include "app/simulate/simulated_disk.hpp"
#include "io/arena.hpp"
#include "messages/load.hpp"

namespace longshore {

struct simulated_actors {
  caf::actor listener, reader, arbiter, registry;
  caf::actor copier;               ///< null without a device
  std::vector<device_lane> lanes;  ///< none without a device
  /// Two, so that staging can be told from the rest. Each could be all of the limit: that both together are not is for
  /// the arbiter to see to.
  std::shared_ptr<arena_pool> pool, staging_pool;

  /// Those that are there, in the order in which they may end.
  std::vector<caf::actor> all() const;
};

/// `target` is null where the machine has no device. `on_progress` is called in the thread of the simulation.
expected<simulated_actors> spawn_simulated_actors(caf::actor_system& system, const simulated_machine& machine,
                                                  simulated_disk& disk, std::shared_ptr<device> target,
                                                  std::function<void(const load_progress&)> on_progress);

}  // namespace longshore
