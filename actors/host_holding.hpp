#pragma once
/// What the holders of a file in host memory (as it is, or cast) do alike: the account with the pin arbiter, the leave
/// to have the bytes, the pins of what is full, and the end of a load that succeeds.
///
/// Owns the state of one file's memory, which is its holder's alone. Not an actor: functions that a holder's handlers
/// call. What they call back runs in the holder too, and never after its end. Failure: typed, handed to the holder;
/// pins that are refused are none.

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include <caf/event_based_actor.hpp>

#include "actors/file_load.hpp"
#include "actors/model_pins.hpp"
#include "io/load_memory.hpp"
#include "messages/host_copy.hpp"
#include "messages/pin.hpp"

namespace longshore {

/// The bytes and the leave to have them. Shared with reads, casts, copies and users, so that the memory is there as
/// long as any of them needs it, and the leave ends after the memory.
struct host_bytes {
  std::shared_ptr<const pin_hold> leave;
  std::shared_ptr<load_memory> loading;
  std::shared_ptr<const held_file> held{};  // once all is in
};

struct host_holding {
  account_id account = 0;  ///< 0 for what is mapped: the kernel's memory, not ours
  std::shared_ptr<host_bytes> bytes;
  std::byte* data = nullptr;
  std::vector<uint64_t> chunk_ends;  ///< in the memory, of each chunk of the plan
  std::vector<bool> chunk_is_in;
  model_pins pins;
  uint64_t pins_owed_bytes = 0;  ///< asked back while their grant was on its way

  bool is_ready() const { return bytes && bytes->held; }

  /// Whether all bytes of this range of the memory are where they belong.
  bool is_in(uint64_t offset_bytes, uint64_t length_bytes) const;
};

void open_account_for(caf::event_based_actor* self, const file_load& load, host_holding& holding,
                      const std::function<void(const expected<void>&)>& then);

/// Asks for the memory that the registry has granted. Nothing to ask for without an account.
void ask_for_leave(caf::event_based_actor* self, const file_load& load, const host_holding& holding,
                   const grant_bytes& grant,
                   const std::function<void(const expected<std::shared_ptr<const pin_hold>>&)>& then);

/// The memory is there: `chunk_ends`, of the load's plan.
void take_memory(const file_load& load, host_holding& holding, std::shared_ptr<const pin_hold> leave,
                 std::shared_ptr<load_memory> memory, std::vector<uint64_t> chunk_ends);

/// The chunk's bytes are in. Pages that are full are page-locked fast, so that a segment's turn comes when its last
/// chunk is in; `then`: it is decided.
void chunk_came_in(caf::event_based_actor* self, const file_load& load, host_holding& holding, size_t index,
                   const std::function<void()>& then);

/// These ranges are copied to the device again and again: pins are theirs first. Once all is in.
void prefer_ranges(caf::event_based_actor* self, const file_load& load, host_holding& holding, const prefer_pins& order,
                   const std::function<void()>& then);

/// Only when all bytes are in and the file is still the one that the load began with does anybody get to see it.
expected<void> finish_load(caf::event_based_actor* self, file_load& load, host_holding& holding);

/// Whether someone uses the file from now on.
void use_account(caf::event_based_actor* self, const file_load& load, const host_holding& holding, bool leased);

/// The arbiter asks for pins, or for all of it, which is the registry's to decide.
void give_back(caf::event_based_actor* self, const file_load& load, host_holding& holding, const pressure& order);

}  // namespace longshore
