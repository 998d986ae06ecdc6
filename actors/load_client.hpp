#pragma once
/// The actor behind a load or put that its caller does not wait for: asks the registry, hands the answer over, and
/// ends.
///
/// Owns the callback, and calls it exactly once, on an actor's thread: with the answer, with `cancelled` after
/// `cancel_request`, or with `stopped` when the registry or the whole system ends first. The callback must not block.
/// An actor a request, so that to cancel is to end: the registry watches whoever waits, and gives up for those who are
/// gone. Limits: none of its own, the registry bounds who may wait.

#include <functional>
#include <variant>

#include <caf/actor.hpp>
#include <caf/fwd.hpp>

#include "messages/cache.hpp"

namespace longshore {

using load_callback = std::function<void(expected<model_answer>)>;

/// What is answered by a lease.
using lease_request = std::variant<get_model, put_object>;

caf::actor spawn_load_client(caf::actor_system& system, const caf::actor& registry, const lease_request& request,
                             load_callback on_answer);

}  // namespace longshore
