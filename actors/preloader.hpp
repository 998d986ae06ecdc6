#pragma once
/// The actor that fills the cache from a list: asks the registry for each model, a few at a time, and reports on all.
///
/// Owns the list while it works, one list at a time per request. Limit: `preload_models::at_once` requests under way.
/// Failure: a model that fails is an outcome like any other and does not stop the rest.

#include <caf/fwd.hpp>

namespace longshore {

caf::actor spawn_preloader(caf::actor_system& system, const caf::actor& registry);

}  // namespace longshore
