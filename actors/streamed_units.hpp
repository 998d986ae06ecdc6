#pragma once
/// The units of a streamed model: those on the device, and those on their way there.
///
/// Owns their device memory, and the rule that says which of them come and go; a streamer's own, which is its alone.
/// Not an actor: functions that its handlers call. Limits: the budget of `blocks`, `credits` chunks under way. Failure:
/// a unit that cannot come stands in `lost` with the reason, once.

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include <caf/event_based_actor.hpp>

#include "actors/chunk_moves.hpp"
#include "actors/weight_streamer.hpp"
#include "cache/stream_rule.hpp"
#include "gpu/device_blocks.hpp"
#include "messages/stream.hpp"

namespace longshore {

/// A unit on its way to the device, shared with its chunks. The memory of one that is lost is given back at once, and
/// free when neither a chunk nor a user points to it any more.
struct unit_fetch {
  unit_id unit = 0;
  taken_block memory{};
  std::deque<chunk> unsent{};
  size_t under_way = 0;
  size_t unqueued = 0;                           ///< chunks whose copies do not stand in the device's stream yet
  std::shared_ptr<const device_event> queued{};  ///< behind the last copy that does
  std::vector<std::shared_ptr<const device_event>> used_until{};  ///< by users that did not wait for its end
  uint64_t queued_at = 0;                                         ///< its number among all chunks that were queued
  bool is_lost = false;
};

struct streamed_unit {
  std::shared_ptr<unit_fetch> fetch{};  ///< while it comes
  taken_block memory{};                 ///< once it is there; `after`: its uses that may not be over
  uint64_t moved_in_pass = 0;           ///< the last one
};

struct lost_unit {
  unit_id unit = 0;
  error reason{};
};

/// Whether others were asked for device memory for the next unit.
enum class room_search : uint8_t { none, asked, answered };

/// The link at work: from the first chunk under way to the last.
struct link_use {
  uint64_t since_ns = 0;  ///< 0: nothing is under way
  uint64_t busy_ns = 0;
  uint64_t bytes = 0;
};

struct streamed_units {
  std::shared_ptr<device> target;
  std::shared_ptr<const layer_plan> plan;
  std::vector<streamed_file> files;
  weight_streamer_options options;
  std::optional<stream_rule> rule;
  std::optional<device_blocks> blocks;
  chunk_moves moves;
  std::vector<streamed_unit> units;
  std::deque<std::shared_ptr<unit_fetch>> fetches;                 ///< in the order of need, until all is sent
  std::unordered_map<uint32_t, std::shared_ptr<unit_fetch>> sent;  ///< by chunk
  std::vector<lost_unit> lost;
  uint32_t next_chunk = 0;
  uint64_t queued = 0;
  stream_id side_stream = 0;    ///< of the device, to hear of uses that are over; 0: not needed yet
  bool hears = false;           ///< it will be heard of
  caf::actor keeper;            ///< of the device's streams
  room_search search{};         ///< for the first of `fetches`
  uint64_t capacity_bytes = 0;  ///< the rule's: the budget, less what others needed
  bool pins_are_due = true;     ///< what moves in each pass has changed since host copies heard of it
  bool is_polite = false;       ///< takes no room from others: it is not in use yet
  link_use link;
  uint64_t disk_bytes = 0;
  uint64_t peak_bytes = 0;  ///< of device memory

  streamed_units() = default;
  ~streamed_units();
  streamed_units(const streamed_units&) = delete;
  streamed_units& operator=(const streamed_units&) = delete;

  /// The unit's memory, on its way or there.
  const std::shared_ptr<const device_block>& block(unit_id unit) const {
    return units[unit].fetch ? units[unit].fetch->memory.block : units[unit].memory.block;
  }
};

/// The actor's clock, which is virtual in a simulation.
uint64_t now_ns(caf::event_based_actor* self);

/// What the rule says.
void carry_out(caf::event_based_actor* self, streamed_units& streamed, const stream_actions& todo);

/// As many chunks as the credits allow.
void send_chunks(caf::event_based_actor* self, streamed_units& streamed);

/// A chunk's way is over, or its copies stand in the device's stream. True: the latter are all of its unit's.
void chunk_over(caf::event_based_actor* self, streamed_units& streamed, move_over over);
bool chunk_stands_in_queue(streamed_units& streamed, const chunk_queued& message);

/// A pass is over: host copies shall give their pins to what was moved in it, if that is news. Seldom, since what moves
/// can change a little from pass to pass, and page-locking is slow.
void prefer_what_moves(caf::event_based_actor* self, streamed_units& streamed);

/// The room that units may take from now on.
void set_capacity(caf::event_based_actor* self, streamed_units& streamed, uint64_t capacity_bytes);

/// Others were asked, and gave what they could.
void room_came(streamed_units& streamed);

/// Whether the layer can be used; on the device it is enough that its copies are queued.
bool is_usable(const streamed_units& streamed, uint32_t layer, bool on_device);

/// What the layer's first absent unit waits for.
layer_wait cause_now(const streamed_units& streamed, uint32_t layer);

/// The layer's units are used until this is over on the device.
void used_until(streamed_units& streamed, const layer_released& use);

/// Bytes a second since it was asked last; 0 where nothing came.
double take_link_rate(streamed_units& streamed);

}  // namespace longshore
