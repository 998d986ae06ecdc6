#include "actors/host_casting.hpp"

#include <caf/actor_system.hpp>

#include "actors/host_caster.hpp"
#include "actors/stream_stager.hpp"

namespace longshore {

std::vector<caf::actor> host_casting::all() const {
  auto there = casters;
  if (stager)
    there.push_back(stager);
  return there;
}

host_casting spawn_host_casting(caf::actor_system& system, const std::shared_ptr<arena_pool>& pool,
                                const caf::actor& arbiter, const host_casting_options& options) {
  host_casting made;
  made.stager = spawn_stream_stager(system, nullptr, pool, arbiter,
                                    {.slot_bytes = arena_pool::rounded(options.chunk_bytes),
                                     .staging_limit_bytes = options.scratch_bytes,
                                     .idle_after = std::chrono::seconds{1}});
  for (size_t i = 0; i < options.casters; ++i)
    made.casters.push_back(spawn_host_caster(system, options.on_own_threads, options.read));
  return made;
}

}  // namespace longshore
