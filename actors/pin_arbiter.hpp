#pragma once
/// The actor that owns the memory budget: turns requests, relief and pressure into calls on cache/pin_ledger, and the
/// actions that come back into messages.
///
/// Owns the ledger, and who stands behind each account. Limits: those of the ledger, never exceeded. Deadlines: each
/// request has one. Failure: a request is always answered; an owner that dies has its requests refused and its account
/// closed, and what it held counts until its `pin_hold`s end.

#include <cstdint>
#include <functional>

#include <caf/fwd.hpp>

#include "cache/pin_ledger_types.hpp"

namespace longshore {

/// Told how many host bytes are granted, before whoever they were granted to hears of it: memory that is kept for later
/// and stands in no account has to leave room for them. Called on the arbiter's thread; must not block.
using granted_callback = std::function<void(uint64_t host_bytes)>;

caf::actor spawn_pin_arbiter(caf::actor_system& system, const pin_limits& limits, granted_callback on_granted = {});

}  // namespace longshore
