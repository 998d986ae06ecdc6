#pragma once
/// The actor that owns the memory budget: turns requests, relief and pressure into calls on cache/pin_ledger, and the
/// actions that come back into messages.
///
/// Owns the ledger, and who stands behind each account. Limits: those of the ledger, never exceeded. Deadlines: each
/// request has one. Failure: a request is always answered; an owner that dies has its requests refused and its account
/// closed, and what it held counts until its `pin_hold`s end.

#include <caf/fwd.hpp>

#include "cache/pin_ledger_types.hpp"

namespace longshore {

caf::actor spawn_pin_arbiter(caf::actor_system& system, const pin_limits& limits);

}  // namespace longshore
