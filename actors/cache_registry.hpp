#pragma once
/// The actor behind which all models are: turns requests and the holders' reports into calls on cache/registry, and the
/// actions that come back into messages.
///
/// Owns the rule, the handles of the holders, and who waits for what. Limits: those of the rule. Deadlines: every
/// ticket has one (`get_model::deadline`), and so has every wait for memory. Failure: a ticket is always answered; a
/// holder that dies fails its load; a client that dies gives up what it waits for.

#include <chrono>

#include <caf/fwd.hpp>

#include "actors/model_holder.hpp"
#include "cache/registry_types.hpp"

namespace longshore {

struct cache_registry_options {
  registry_limits limits;
  std::chrono::milliseconds memory_timeout = std::chrono::seconds{30};
};

caf::actor spawn_cache_registry(caf::actor_system& system, const cache_registry_options& options,
                                const holder_services& services);

}  // namespace longshore
