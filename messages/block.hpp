#pragma once
/// Between clients with memory of their own, such as cached outputs, and the block keeper, which has it counted.
///
/// A client registers a block before it takes the memory, and holds the `memory_block` as long as the memory is there.
/// Under pressure it is called, and lets go of both as soon as it can, or says `decline`. Until either comes, the bytes
/// count as being on their way, so the keeper declines for a client that does neither in time.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <caf/actor_control_block.hpp>

#include "cache/error.hpp"
#include "messages/local_message.hpp"
#include "messages/pin_hold.hpp"

namespace longshore {

/// The budget's share of a block: as long as this lives, its bytes count. It ends after the memory itself. Immutable,
/// any thread. Outlives its runtime safely: then nobody is told any more.
class memory_block {
public:
  memory_block(std::shared_ptr<const pin_hold> hold, caf::weak_actor_ptr keeper, caf::weak_actor_ptr arbiter)
      : hold_(std::move(hold)), keeper_(std::move(keeper)), arbiter_(std::move(arbiter)) {}
  ~memory_block();
  memory_block(const memory_block&) = delete;
  memory_block& operator=(const memory_block&) = delete;

  uint64_t bytes() const { return hold_->bytes().host_bytes; }

  /// Whether someone needs the block now. Either word counts as a use of it; once active, it may stay although it was
  /// asked for.
  void set_active(bool active) const;

  /// Not now: what was asked for stays. It may be asked for again.
  void decline() const;

private:
  std::shared_ptr<const pin_hold> hold_;
  caf::weak_actor_ptr keeper_;
  caf::weak_actor_ptr arbiter_;
};

/// A client wants its memory counted. Answered by `block_answer`, at the latest when the deadline has passed.
struct register_block {
  std::string name;  ///< for a person, in refusals and status displays
  uint64_t bytes = 0;
  bool active = false;
  /// The block is asked back; so many bytes, all of it. Called once each time it is asked for, on the keeper's thread:
  /// must not block, must not own the `memory_block`, may let go of it. One that throws declines. A call may come
  /// before the answer has been read, or while the block ends.
  std::function<void(uint64_t bytes)> on_pressure{};
  std::chrono::milliseconds deadline = std::chrono::seconds{30};
};

/// The block, or the reason why there is none: `out_of_budget`, `timed_out`, `overloaded`, `bad_argument`, `stopped`.
/// An answer that nobody reads gives the bytes back.
struct block_answer {
  std::shared_ptr<const memory_block> block;
  error reason{};
};

/// A block to its keeper as it ends.
struct block_ended {
  account_id account = 0;
};

/// The keeper to itself: the client has had its time to let go.
struct block_overdue {
  account_id account = 0;
  uint64_t ask = 0;
};

}  // namespace longshore

LONGSHORE_LOCAL_MESSAGE(register_block)
LONGSHORE_LOCAL_MESSAGE(block_answer)
LONGSHORE_LOCAL_MESSAGE(block_ended)
LONGSHORE_LOCAL_MESSAGE(block_overdue)
