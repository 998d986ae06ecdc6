#pragma once
/// The way of a file's chunks to device memory: what the actors that fill it (a whole file, or the layers of a stream)
/// do alike.
///
/// A chunk's way depends on where its bytes are. On the disk: a slot is borrowed, read into, and uploaded. In a host
/// copy: lent by that copy's holder, and uploaded from there when it is page-locked, by way of a slot when it is not.
/// A host copy that fails, or goes, leaves the disk, where the file was opened. A slot or a page-locked range ends when
/// its last copy is over.
/// Owns what is under way for one actor, which is its alone. Not an actor: functions that its handlers call. Limit: the
/// caller's credits. Failure: each chunk that was begun is over exactly once, with its bytes in place or a reason.

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include <caf/actor.hpp>
#include <caf/event_based_actor.hpp>

#include "actors/model_holder.hpp"
#include "io/open_model.hpp"
#include "messages/chunk.hpp"
#include "messages/host_copy.hpp"
#include "messages/slot.hpp"
#include "messages/upload.hpp"

namespace longshore {

/// What to move, from where, and to where.
struct chunk_move {
  std::shared_ptr<const opened_file> file{};  ///< null: there is nothing but the host copy
  std::string path{};
  chunk what{};
  caf::actor host_copy{};  ///< the holder of the same file in host memory; null: all comes from the disk
  upload_plan plan{};
  std::shared_ptr<const void> target{};  ///< keeps the device memory
  copy_order order{};
};

enum class move_stage : uint8_t { host_copy, slot, disk, copy_to_slot, link };

struct move_under_way {
  chunk_move move;
  move_stage stage{};
  std::shared_ptr<const staging_slot> slot{};
  range_lent copy_from{};  ///< without an address when it comes from the disk
  std::optional<read_path> via{};
};

/// The end of a move: with a reason, its bytes are not in place.
struct move_over {
  uint32_t index = 0;
  move_under_way moved{};
  error reason{};
};

struct chunk_moves {
  uint64_t load = 0;
  bool urgent = false;
  bool ending = false;  ///< nothing goes on to its next step any more
  caf::actor reader, copier;
  device_lane lane;
  uint64_t first_upload_ns = 0;  ///< of the steady clock; 0 before it
  std::unordered_map<uint32_t, move_under_way> under_way{};
};

/// The chunk's first step: to where its bytes are, or, for those on the disk, to a slot that they can be read into.
void begin_move(caf::event_based_actor* self, chunk_moves& moves, uint32_t index, chunk_move move);

/// A step is over: what its actor answers. A move that is over because of it comes back. A range without bytes is no
/// step, but the copy's end for all.
std::optional<move_over> step_over(caf::event_based_actor* self, chunk_moves& moves, const range_lent& range);
std::optional<move_over> step_over(caf::event_based_actor* self, chunk_moves& moves, const slot_lent& lent);
std::optional<move_over> step_over(caf::event_based_actor* self, chunk_moves& moves, const chunk_read& done);
std::optional<move_over> step_over(caf::event_based_actor* self, chunk_moves& moves, const chunk_failed& failed);
std::optional<move_over> step_over(caf::event_based_actor* self, chunk_moves& moves, const chunk_cancelled& cancelled);
std::optional<move_over> step_over(caf::event_based_actor* self, chunk_moves& moves, const bytes_copied& done);
std::optional<move_over> step_over(caf::event_based_actor* self, chunk_moves& moves, const chunk_uploaded& done);
std::optional<move_over> step_over(caf::event_based_actor* self, chunk_moves& moves, const upload_failed& failed);

/// Someone waits for these now.
void hurry_moves(caf::event_based_actor* self, chunk_moves& moves);

/// What has not got far ends soon; what was asked of a host copy is over at once, since it may never answer. The rest
/// is over step by step, without a reason of its own.
void end_moves(caf::event_based_actor* self, chunk_moves& moves);

/// A host copy is not to be had, or its holder is gone: what was asked of it comes from the disk, in order. No answer
/// to that is waited for, since a holder that refuses may end before it gets to the next wish. What cannot come
/// otherwise is over.
std::vector<move_over> leave_host_copy(caf::event_based_actor* self, chunk_moves& moves, const caf::actor_addr& copy);

}  // namespace longshore
