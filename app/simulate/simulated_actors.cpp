#include "app/simulate/simulated_actors.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include <caf/actor_system.hpp>

#include "actors/cache_registry.hpp"
#include "actors/disk_reader.hpp"
#include "actors/gpu_uploader.hpp"
#include "actors/pin_arbiter.hpp"
#include "actors/stream_stager.hpp"
#include "actors/traced_actor.hpp"

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

expected<void> check_staging(const simulated_machine& machine, uint64_t slot_bytes) {
  if (machine.staging_bytes >= slot_bytes && machine.staging_bytes < machine.host_limit_bytes)
    return {};
  return unexpected(error{.code = errc::bad_argument,
                          .what = "staging memory must have room for a slot of " + std::to_string(slot_bytes) +
                                  " bytes and be less than the host limit of " +
                                  std::to_string(machine.host_limit_bytes)});
}

/// Chunks on their way to the device: a part of the host limit of their own, page-locked as far as the budget goes.
void spawn_for_device(caf::actor_system& system, const simulated_machine& machine, uint64_t slot_bytes,
                      const std::shared_ptr<device>& target, simulated_actors& made) {
  made.arbiter =
      spawn_pin_arbiter(system, {.host_limit_bytes = machine.staging_bytes,
                                 .pin_limit_bytes = std::min(machine.pin_budget_bytes, machine.staging_bytes)});
  made.stager = spawn_stream_stager(system, target, made.staging_pool, made.arbiter,
                                    {.slot_bytes = slot_bytes, .staging_limit_bytes = machine.staging_bytes});
  made.uploader = spawn_gpu_uploader(system, target, {.scratch_bytes = options_of_holders().chunk_bytes});
}

}  // namespace

std::vector<caf::actor> simulated_actors::all() const {
  std::vector<caf::actor> there;
  for (const auto& actor : {registry, reader, stager, uploader, arbiter, listener})
    if (actor)
      there.push_back(actor);
  return there;
}

expected<simulated_actors> spawn_simulated_actors(caf::actor_system& system, const simulated_machine& machine,
                                                  simulated_disk& disk, std::shared_ptr<device> target,
                                                  std::function<void(const load_progress&)> on_progress) {
  const auto holding = options_of_holders();
  const auto slot_bytes = arena_pool::rounded(holding.chunk_bytes);
  if (auto room = target ? check_staging(machine, slot_bytes) : expected<void>{}; !room)
    return unexpected(room.error());
  const auto staging_bytes = target ? machine.staging_bytes : 0;
  const auto scratch_bytes = std::min(machine.device_capacity_bytes, holding.chunk_bytes);
  simulated_actors made;
  made.pool = arena_pool::make(machine.host_limit_bytes - staging_bytes, 0);
  made.staging_pool = arena_pool::make(staging_bytes, 0);
  made.listener = system.spawn([tell = std::move(on_progress)](traced_actor<watcher_state>*) -> caf::behavior {
    return {[=](const load_progress& progress) { tell(progress); }};
  });
  made.reader = spawn_disk_reader(
      system, [&disk](completion_callback on_complete) { return disk.make_engine(std::move(on_complete)); });
  if (target)
    spawn_for_device(system, machine, slot_bytes, target, made);
  const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(machine.memory_wait);
  made.registry = spawn_cache_registry(system,
                                       {.limits = {.host_limit_bytes = made.pool->limit_bytes(),
                                                   .device_limit_bytes = machine.device_capacity_bytes - scratch_bytes},
                                        .memory_timeout = wait},
                                       {.reader = made.reader,
                                        .listener = made.listener,
                                        .pool = made.pool,
                                        .options = holding,
                                        .target = target,
                                        .stager = made.stager,
                                        .uploader = made.uploader});
  return made;
}

}  // namespace longshore
