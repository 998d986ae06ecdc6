#pragma once
/// Between a holder and the stager of a device stream: pieces of staging memory, each the credit for one chunk.
///
/// A holder sends `borrow_slot` for a chunk, and each gets exactly one `slot_lent`. A slot goes back by itself when its
/// last user lets go of it: the read that fills it, the copy that empties it, whoever is left.

#include <cstddef>
#include <cstdint>
#include <memory>

#include <caf/actor_control_block.hpp>

#include "cache/error.hpp"
#include "messages/local_message.hpp"

namespace longshore {

/// The right to a slot's memory. Any thread; outlives the stager safely: the memory stays as long as this.
class staging_slot {
public:
  staging_slot(std::byte* data, uint32_t number, std::shared_ptr<const void> memory, caf::weak_actor_ptr stager)
      : data_(data), number_(number), memory_(std::move(memory)), stager_(std::move(stager)) {}
  ~staging_slot();
  staging_slot(const staging_slot&) = delete;
  staging_slot& operator=(const staging_slot&) = delete;

  std::byte* data() const { return data_; }

private:
  std::byte* data_;
  uint32_t number_;
  std::shared_ptr<const void> memory_;
  caf::weak_actor_ptr stager_;
};

struct borrow_slot {
  uint64_t load = 0;
  uint32_t index = 0;
  bool urgent = false;
};

/// A slot, or the reason why there will be none: `cancelled`, or there is no memory for even one.
struct slot_lent {
  uint32_t index = 0;
  std::shared_ptr<const staging_slot> slot;
  error reason{};
};

/// The load's waiting chunks come back as `slot_lent` without a slot.
struct cancel_borrows {
  uint64_t load = 0;
};

/// Someone waits for this load now.
struct hurry_borrows {
  uint64_t load = 0;
};

/// A slot to its stager as it ends.
struct slot_returned {
  uint32_t number = 0;
};

/// The stager to itself: give back what was idle all this time.
struct trim_slots {
  uint64_t lent_before = 0;
};

/// Answered by `staging_status`.
struct show_staging {};

struct staging_status {
  uint64_t bytes = 0;
  uint64_t peak_bytes = 0;
  uint64_t pinned_bytes = 0;
  uint64_t pinned_peak_bytes = 0;
};

}  // namespace longshore

LONGSHORE_LOCAL_MESSAGE(borrow_slot)
LONGSHORE_LOCAL_MESSAGE(slot_lent)
LONGSHORE_LOCAL_MESSAGE(cancel_borrows)
LONGSHORE_LOCAL_MESSAGE(hurry_borrows)
LONGSHORE_LOCAL_MESSAGE(slot_returned)
LONGSHORE_LOCAL_MESSAGE(trim_slots)
LONGSHORE_LOCAL_MESSAGE(show_staging)
LONGSHORE_LOCAL_MESSAGE(staging_status)
