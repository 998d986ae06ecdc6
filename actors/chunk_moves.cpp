#include "actors/chunk_moves.hpp"

#include <cassert>
#include <set>
#include <utility>

#include <caf/send.hpp>

#include "actors/file_load.hpp"
#include "io/trace_ring.hpp"

namespace longshore {
namespace {

/// What a read for a slot needs to live on: the descriptors, and the slot.
struct slot_read {
  std::shared_ptr<const opened_file> opened;
  std::shared_ptr<const staging_slot> slot;
};

std::optional<move_over> end(chunk_moves& moves, uint32_t index, error reason = {}) {
  auto found = moves.under_way.extract(index);
  if (!found)
    return std::nullopt;  // it was over before
  return move_over{.index = index, .moved = std::move(found.mapped()), .reason = std::move(reason)};
}

void borrow(caf::event_based_actor* self, const chunk_moves& moves, uint32_t index, move_under_way& moving) {
  moving.stage = move_stage::slot;
  self->send(moves.lane.stager, borrow_slot{moves.load, index, moves.urgent});
}

/// The disk is the way out where there is a file; a lost copy is a reason where there is none.
std::optional<move_over> go_on_without_copy(caf::event_based_actor* self, chunk_moves& moves, uint32_t index,
                                            move_under_way& moving) {
  moving.move.host_copy = nullptr;
  if (!moving.move.file)
    return end(moves, index, {.code = errc::stopped, .what = "the host copy is gone", .path = moving.move.path});
  borrow(self, moves, index, moving);
  return std::nullopt;
}

/// The copies keep what they use: the slot, or the range of the host copy.
void upload(caf::event_based_actor* self, chunk_moves& moves, uint32_t index, move_under_way& moving,
            const std::byte* source, std::shared_ptr<const void> memory) {
  moving.stage = move_stage::link;
  if (moves.first_upload_ns == 0)
    moves.first_upload_ns = trace_now_ns();
  self->send(moves.lane.uploader, upload_chunk{.load = moves.load,
                                               .index = index,
                                               .source = source,
                                               .plan = std::move(moving.move.plan),
                                               .memory = std::move(memory),
                                               .target = moving.move.target,
                                               .order = std::move(moving.move.order)});
}

void upload_slot(caf::event_based_actor* self, chunk_moves& moves, uint32_t index, move_under_way& moving) {
  auto slot = std::move(moving.slot);
  const auto* source = slot->data();
  upload(self, moves, index, moving, source, std::move(slot));
}

void read(caf::event_based_actor* self, const chunk_moves& moves, uint32_t index, move_under_way& moving) {
  moving.stage = move_stage::disk;
  auto order = reading(*moving.move.file, moving.move.what);
  order.load = moves.load;
  order.index = index;
  order.urgent = moves.urgent;
  order.destination = moving.slot->data();
  order.memory = std::make_shared<const slot_read>(slot_read{moving.move.file, moving.slot});
  self->send(moves.reader, std::move(order));
}

void copy_to_slot(caf::event_based_actor* self, const chunk_moves& moves, uint32_t index, move_under_way& moving) {
  moving.stage = move_stage::copy_to_slot;
  self->send(moves.copier, copy_bytes{.index = index,
                                      .source = moving.copy_from.data,
                                      .destination = moving.slot->data(),
                                      .length_bytes = moving.move.what.length_bytes,
                                      .memory = std::move(moving.copy_from.memory),
                                      .target = moving.slot});
}

/// The bytes are in the slot.
std::optional<move_over> slot_is_full(caf::event_based_actor* self, chunk_moves& moves, uint32_t index,
                                      std::optional<read_path> via) {
  const auto found = moves.under_way.find(index);
  if (found == moves.under_way.end())
    return std::nullopt;
  if (moves.ending)
    return end(moves, index);
  found->second.via = via;
  upload_slot(self, moves, index, found->second);
  return std::nullopt;
}

}  // namespace

void begin_move(caf::event_based_actor* self, chunk_moves& moves, uint32_t index, chunk_move move) {
  auto& moving = moves.under_way.emplace(index, move_under_way{.move = std::move(move)}).first->second;
  if (!moving.move.host_copy)
    return borrow(self, moves, index, moving);
  moving.stage = move_stage::host_copy;
  self->send(moving.move.host_copy, borrow_range{index, moving.move.what.offset_bytes, moving.move.what.length_bytes});
}

std::optional<move_over> step_over(caf::event_based_actor* self, chunk_moves& moves, const range_lent& range) {
  const auto found = moves.under_way.find(range.index);
  if (found == moves.under_way.end() || found->second.stage != move_stage::host_copy)
    return std::nullopt;  // given up meanwhile
  auto& moving = found->second;
  assert(range.data != nullptr);
  moving.copy_from = range;
  if (range.is_pinned)
    upload(self, moves, range.index, moving, range.data, range.memory);
  else
    borrow(self, moves, range.index, moving);
  return std::nullopt;
}

std::optional<move_over> step_over(caf::event_based_actor* self, chunk_moves& moves, const slot_lent& lent) {
  const auto found = moves.under_way.find(lent.index);
  if (found == moves.under_way.end())
    return std::nullopt;
  if (moves.ending || !lent.slot)
    return end(moves, lent.index, moves.ending ? error{} : lent.reason);
  auto& moving = found->second;
  moving.slot = lent.slot;
  if (moving.copy_from.data != nullptr)
    copy_to_slot(self, moves, lent.index, moving);
  else
    read(self, moves, lent.index, moving);
  return std::nullopt;
}

std::optional<move_over> step_over(caf::event_based_actor* self, chunk_moves& moves, const chunk_read& done) {
  return slot_is_full(self, moves, done.index, done.via);
}

std::optional<move_over> step_over(caf::event_based_actor* self, chunk_moves& moves, const bytes_copied& done) {
  return slot_is_full(self, moves, done.index, std::nullopt);
}

std::optional<move_over> step_over(caf::event_based_actor*, chunk_moves& moves, const chunk_failed& failed) {
  const auto found = moves.under_way.find(failed.index);
  if (found == moves.under_way.end())
    return std::nullopt;
  return end(moves, failed.index, reason_of(*found->second.move.file, found->second.move.path, failed));
}

std::optional<move_over> step_over(caf::event_based_actor*, chunk_moves& moves, const chunk_cancelled& cancelled) {
  return end(moves, cancelled.index);
}

std::optional<move_over> step_over(caf::event_based_actor*, chunk_moves& moves, const chunk_uploaded& done) {
  return end(moves, done.index);
}

std::optional<move_over> step_over(caf::event_based_actor*, chunk_moves& moves, const upload_failed& failed) {
  const auto found = moves.under_way.find(failed.index);
  if (found == moves.under_way.end())
    return std::nullopt;
  auto reason = failed.reason;
  reason.path = found->second.move.path;
  reason.offset_bytes = found->second.move.what.offset_bytes;
  return end(moves, failed.index, std::move(reason));
}

void hurry_moves(caf::event_based_actor* self, chunk_moves& moves) {
  moves.urgent = true;
  self->send(moves.reader, hurry_reads{moves.load});
  self->send(moves.lane.stager, hurry_borrows{moves.load});
}

void end_moves(caf::event_based_actor* self, chunk_moves& moves) {
  moves.ending = true;
  std::erase_if(moves.under_way, [](const auto& one) { return one.second.stage == move_stage::host_copy; });
  if (moves.under_way.empty())
    return;
  self->send(moves.reader, cancel_reads{moves.load});
  self->send(moves.lane.stager, cancel_borrows{moves.load});
}

std::vector<move_over> leave_host_copy(caf::event_based_actor* self, chunk_moves& moves, const caf::actor_addr& copy) {
  std::set<uint32_t> asked;
  for (const auto& [index, moving] : moves.under_way)
    if (moving.stage == move_stage::host_copy && moving.move.host_copy.address() == copy)
      asked.insert(index);
  std::vector<move_over> lost;
  for (auto index : asked)
    if (auto over = go_on_without_copy(self, moves, index, moves.under_way.at(index)))
      lost.push_back(std::move(*over));
  return lost;
}

}  // namespace longshore
