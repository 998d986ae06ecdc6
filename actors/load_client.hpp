#pragma once
/// The actor behind a load that its caller does not wait for: asks the registry, hands the answer over, and ends.
///
/// Owns the callback, and calls it exactly once, on an actor's thread: with the answer, with `cancelled` after
/// `cancel_request`, or with `stopped` when the registry or the whole system ends first. The callback must not block.
/// An actor a request, so that to cancel is to end: the registry watches whoever waits, and gives up for those who are
/// gone. Limits: none of its own, the registry bounds who may wait.

#include <functional>

#include <caf/actor.hpp>
#include <caf/fwd.hpp>

#include "messages/cache.hpp"

namespace longshore {

using load_callback = std::function<void(expected<model_answer>)>;

caf::actor spawn_load_client(caf::actor_system& system, const caf::actor& registry, const get_model& request,
                             load_callback on_answer);

}  // namespace longshore
