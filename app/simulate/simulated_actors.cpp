#include "app/simulate/simulated_actors.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include <caf/actor_system.hpp>
#include <caf/send.hpp>

#include "actors/cache_registry.hpp"
#include "actors/device_lanes.hpp"
#include "actors/disk_reader.hpp"
#include "actors/pin_arbiter.hpp"
#include "actors/traced_actor.hpp"
#include "gpu/host_link.hpp"
#include "messages/host_copy.hpp"

namespace longshore {
namespace {

struct watcher_state {
  static constexpr const char* name = "watcher";
};

/// What a runtime has by default, but all in one thread, and past the page cache: every read of the simulation is cold.
holder_options options_of_holders() {
  holder_options options;
  options.page_cache = page_cache_mode::direct;
  options.leave_in_cache = true;
  options.open_on_own_thread = false;
  return options;
}

device_lane_options lane_options_of(const simulated_machine& machine) {
  return {.streams = machine.streams,
          .staging_bytes = machine.staging_bytes,
          .chunk_bytes = options_of_holders().chunk_bytes};
}

struct copier_state {
  static constexpr const char* name = "simulated_copier";
};

/// Instead of the runtime's own, which would really copy: it answers when the copy would be over.
caf::behavior copier_behavior(traced_actor<copier_state>* self, const std::shared_ptr<host_link>& memory) {
  return {[=](const copy_bytes& order) {
    const auto now = self->clock().now();
    self->delayed_send(caf::actor_cast<caf::actor>(self->current_sender()),
                       memory->take(now, order.length_bytes).end - now, bytes_copied{order.index});
  }};
}

}  // namespace

std::vector<caf::actor> simulated_actors::all() const {
  std::vector<caf::actor> there{registry, reader};
  for (const auto& lane : lanes)
    there.insert(there.end(), {lane.stager, lane.uploader});
  if (copier)
    there.push_back(copier);
  there.insert(there.end(), {arbiter, listener});
  return there;
}

expected<simulated_actors> spawn_simulated_actors(caf::actor_system& system, const simulated_machine& machine,
                                                  simulated_disk& disk, std::shared_ptr<device> target,
                                                  std::function<void(const load_progress&)> on_progress) {
  auto holding = options_of_holders();
  holding.memory_timeout = std::chrono::duration_cast<std::chrono::milliseconds>(machine.memory_wait);
  const auto lanes = lane_options_of(machine);
  if (auto room = target ? check_staging(lanes, machine.host_limit_bytes) : expected<void>{}; !room)
    return unexpected(room.error());
  simulated_actors made;
  made.pool = arena_pool::make(machine.host_limit_bytes, 0);
  made.staging_pool = arena_pool::make(machine.staging_bytes, 0);
  made.listener = system.spawn([tell = std::move(on_progress)](traced_actor<watcher_state>*) -> caf::behavior {
    return {[=](const load_progress& progress) { tell(progress); }};
  });
  made.reader = spawn_disk_reader(
      system, [&disk](completion_callback on_complete) { return disk.make_engine(std::move(on_complete)); });
  made.arbiter =
      spawn_pin_arbiter(system, {.host_limit_bytes = machine.host_limit_bytes,
                                 .pin_limit_bytes = std::min(machine.pin_budget_bytes, machine.host_limit_bytes)});
  if (target) {
    made.lanes = spawn_device_lanes(system, target, made.staging_pool, made.arbiter, lanes);
    made.copier = system.spawn(copier_behavior,
                               std::make_shared<host_link>(machine.copy_bytes_per_s, std::chrono::nanoseconds{0}));
  }
  const auto scratch_bytes = std::min(machine.device_capacity_bytes, machine.streams * holding.chunk_bytes);
  made.registry = spawn_cache_registry(system,
                                       {.limits = {.host_limit_bytes = machine.host_limit_bytes,
                                                   .device_limit_bytes = machine.device_capacity_bytes - scratch_bytes},
                                        .memory_timeout = holding.memory_timeout},
                                       {.reader = made.reader,
                                        .arbiter = made.arbiter,
                                        .listener = made.listener,
                                        .pool = made.pool,
                                        .options = holding,
                                        .target = target,
                                        .lanes = made.lanes,
                                        .copier = made.copier});
  return made;
}

}  // namespace longshore
