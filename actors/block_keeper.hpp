#pragma once
/// The actor that keeps clients' own memory in the budget: an account a block, and word to the client under pressure.
///
/// Owns the clients' callbacks, not their memory. Limit: `max_blocks`, registered or waiting for memory; more are
/// `overloaded`. Deadlines: each registration has one; a client that is asked for a block and gives no sign for
/// `answer_within` has declined. Failure: a registration is always answered. A client that is gone has let go of its
/// blocks, and so has one that never read its answer. When the keeper or the arbiter is gone, blocks stay good, and
/// nobody asks for them any more.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>

#include <caf/actor.hpp>
#include <caf/fwd.hpp>

namespace longshore {

struct block_keeper_options {
  size_t max_blocks = 4096;
  std::chrono::milliseconds answer_within = std::chrono::seconds{5};
  /// Told how many bytes all blocks have, before whoever has a new one hears of it: what others keep for later, in no
  /// account, has to leave room for them. Called on the keeper's thread; must not block.
  std::function<void(uint64_t bytes)> on_kept = [](uint64_t) {};
};

caf::actor spawn_block_keeper(caf::actor_system& system, const caf::actor& arbiter, block_keeper_options options = {});

}  // namespace longshore
