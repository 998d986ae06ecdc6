#include "actors/device_holder.hpp"

#include <algorithm>
#include <cassert>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include <caf/actor_system.hpp>
#include <caf/send.hpp>

#include "actors/file_load.hpp"
#include "actors/traced_actor.hpp"
#include "io/load_memory.hpp"
#include "io/model_source.hpp"
#include "messages/host_copy.hpp"
#include "messages/slot.hpp"
#include "messages/upload.hpp"

namespace longshore {
namespace {

/// A chunk between its source and the device.
struct chunk_on_its_way {
  std::shared_ptr<const staging_slot> slot;
  range_lent copy_from;  // without an address when it comes from the disk
};

struct holder_state {
  static constexpr const char* name = "device_holder";
  file_load load;
  device_lane lane;
  caf::actor host_copy;              // null: all comes from the disk
  std::set<uint32_t> asked_of_copy;  // chunks that it has not answered, in the order in which the disk shall read them
  std::unordered_map<uint32_t, chunk_on_its_way> chunks;
  std::shared_ptr<const device_file> on_device;
  bool is_ready = false;
  uint64_t first_upload_ns = 0;
};

using holder_actor = traced_actor<holder_state>;

void end_when_idle(holder_actor* self) {
  auto& state = self->state;
  if (state.load.in_flight > 0 || state.load.opening || !state.load.is_ending())
    return;
  state.on_device.reset();
  state.load.opened.reset();
  say_ended(self, state.load);
}

void fail(holder_actor* self, error reason) {
  auto& state = self->state;
  auto& load = state.load;
  if (!load.has_failed())
    load.failure = std::move(reason);
  load.next_chunk = load.plan.size();
  for (auto index : std::exchange(state.asked_of_copy, {})) {  // an answer that comes now is ignored
    state.chunks.erase(index);
    --load.in_flight;
  }
  if (load.in_flight > 0) {
    self->send(load.services.reader, cancel_reads{load.file});
    self->send(self->state.lane.stager, cancel_borrows{load.file});
  }
  end_when_idle(self);
}

void drop(holder_actor* self) {
  self->state.load.dropping = true;
  fail(self, {.code = errc::cancelled, .what = "the load was cancelled", .path = self->state.load.source.path});
}

void opened(holder_actor* self, const open_result& result) {
  auto& load = self->state.load;
  const auto problem = take_opened(load, result);
  if (load.has_failed())
    return end_when_idle(self);
  if (problem)
    return fail(self, *problem);
  if (!load.services.target)
    return fail(self, {.code = errc::unsupported, .what = "there is no device to load to", .path = load.source.path});
  const auto rule = cast_rule::parse(load.source.cast_to);
  if (!rule)
    return fail(self, {.code = rule.error().code, .what = rule.error().what, .path = load.source.path});
  report_progress(self, load, load_stage::waiting_for_memory);
  self->send(load.registry, file_opened{load.file, device_layout{*load.opened->header, *rule}.total_bytes()});
}

/// Only when all bytes are in and the file is still the one that the load began with does anybody get to see it.
void finish(holder_actor* self) {
  auto& state = self->state;
  auto& load = state.load;
  report_progress(self, load, load_stage::checking);
  if (auto same = load.opened->file.check_unchanged(); !same)
    return fail(self, same.error());
  load.report.tensors = state.on_device->tensors().size();
  load.report.upload_ns = state.first_upload_ns == 0 ? 0 : trace_now_ns() - state.first_upload_ns;
  load.opened.reset();
  state.is_ready = true;
  report_progress(self, load, load_stage::ready);
  self->send(load.registry, file_ready{load.file, nullptr, state.on_device, load.report});
}

void borrow(holder_actor* self, uint32_t index) {
  const auto& load = self->state.load;
  self->send(self->state.lane.stager, borrow_slot{load.file, index, load.urgent});
}

/// A chunk's first step: to where its bytes are, or, for those on the disk, to a slot that they can be read into.
void send_chunks(holder_actor* self) {
  auto& state = self->state;
  auto& load = state.load;
  while (load.next_chunk < load.plan.size() && load.in_flight < load.services.options.credits) {
    const auto index = static_cast<uint32_t>(load.next_chunk++);
    ++load.in_flight;
    state.chunks.emplace(index, chunk_on_its_way{});
    if (!state.host_copy) {
      borrow(self, index);
      continue;
    }
    state.asked_of_copy.insert(index);
    self->send(state.host_copy, borrow_range{index, load.plan[index].offset_bytes, load.plan[index].length_bytes});
  }
  if (load.in_flight == 0)
    finish(self);
}

void gave_up_one(holder_actor* self, uint32_t index) {
  self->state.chunks.erase(index);
  --self->state.load.in_flight;
  end_when_idle(self);
}

/// The copies keep what they use: the slot, or the range of the host copy.
void upload(holder_actor* self, uint32_t index, const std::byte* source, std::shared_ptr<const void> memory) {
  auto& state = self->state;
  auto& load = state.load;
  const auto& c = load.plan[index];
  if (state.first_upload_ns == 0)
    state.first_upload_ns = trace_now_ns();
  self->send(state.lane.uploader,
             upload_chunk{.load = load.file,
                          .index = index,
                          .source = source,
                          .plan = state.on_device->layout().plan(c.offset_bytes, c.length_bytes,
                                                                 state.on_device->address(), {}, c.overlap_bytes),
                          .memory = std::move(memory),
                          .target = state.on_device});
}

void upload_slot(holder_actor* self, uint32_t index) {
  auto slot = std::move(self->state.chunks.at(index).slot);
  const auto* source = slot->data();
  upload(self, index, source, std::move(slot));
}

/// The host copy is not to be had, or its holder is gone: what was asked of it comes from the disk. No answer to that
/// is waited for, since a holder that refuses may end before it gets to the next wish.
void leave_host_copy(holder_actor* self) {
  auto& state = self->state;
  state.host_copy = nullptr;
  for (auto index : std::exchange(state.asked_of_copy, {}))
    borrow(self, index);
}

void range_came(holder_actor* self, const range_lent& range) {
  auto& state = self->state;
  if (!state.asked_of_copy.contains(range.index))
    return;  // given up meanwhile
  if (range.data == nullptr)
    return leave_host_copy(self);
  state.asked_of_copy.erase(range.index);
  state.load.report.host_copy_bytes += state.load.plan[range.index].own_bytes();
  if (range.is_pinned)
    return upload(self, range.index, range.data, range.memory);
  state.chunks.at(range.index).copy_from = range;
  borrow(self, range.index);
}

/// What a read for a slot needs to live on: the descriptors, and the slot.
struct slot_read {
  std::shared_ptr<const opened_file> opened;
  std::shared_ptr<const staging_slot> slot;
};

void slot_came(holder_actor* self, const slot_lent& lent) {
  auto& state = self->state;
  auto& load = state.load;
  if (load.is_ending())
    return gave_up_one(self, lent.index);
  if (!lent.slot) {
    --load.in_flight;
    return fail(self, lent.reason);
  }
  auto& chunk = state.chunks.at(lent.index);
  chunk.slot = lent.slot;
  if (chunk.copy_from.data != nullptr)
    self->send(load.services.copier, copy_bytes{.index = lent.index,
                                                .source = chunk.copy_from.data,
                                                .destination = lent.slot->data(),
                                                .length_bytes = load.plan[lent.index].length_bytes,
                                                .memory = std::move(chunk.copy_from.memory),
                                                .target = lent.slot});
  else
    send_read(self, load, lent.index, lent.slot->data(),
              std::make_shared<const slot_read>(slot_read{load.opened, lent.slot}));
}

void chunk_done(holder_actor* self, const chunk_read& done) {
  auto& load = self->state.load;
  assert(load.in_flight > 0);
  span_bytes = load.plan[done.index].length_bytes;
  if (load.is_ending())
    return gave_up_one(self, done.index);
  count_read(load, done);
  upload_slot(self, done.index);
}

void copied(holder_actor* self, const bytes_copied& done) {
  if (self->state.load.is_ending())
    gave_up_one(self, done.index);
  else
    upload_slot(self, done.index);
}

void uploaded(holder_actor* self, const chunk_uploaded& done) {
  auto& state = self->state;
  auto& load = state.load;
  span_bytes = load.plan[done.index].length_bytes;
  if (load.is_ending())
    return gave_up_one(self, done.index);
  load.report.uploaded_bytes += load.plan[done.index].own_bytes();
  state.chunks.erase(done.index);
  --load.in_flight;
  count_done(self, load, done.index);
  send_chunks(self);
}

void lost(holder_actor* self, uint32_t index, error reason) {
  self->state.chunks.erase(index);
  --self->state.load.in_flight;
  fail(self, std::move(reason));
}

void upload_lost(holder_actor* self, const upload_failed& failed) {
  const auto& load = self->state.load;
  auto reason = failed.reason;
  reason.path = load.source.path;
  reason.offset_bytes = load.plan[failed.index].offset_bytes;
  lost(self, failed.index, std::move(reason));
}

void granted(holder_actor* self) {
  auto& state = self->state;
  auto& load = state.load;
  if (load.is_ending())
    return;
  end_wait(load);
  auto target = device_file::allocate(load.services.target, load.source.path, *load.opened->header,
                                      cast_rule::parse(load.source.cast_to).value());  // parsed before
  if (!target)
    return fail(self, target.error());
  state.on_device = std::move(*target);
  load.plan = plan_chunks(*load.opened, planning(load));
  report_progress(self, load, load_stage::reading);
  send_chunks(self);
}

void partner_gone(holder_actor* self, const caf::down_msg& down) {
  auto& state = self->state;
  auto& load = state.load;
  const auto& services = load.services;
  if (down.source == load.registry.address())
    return self->quit();  // nobody is left to tell; reads and copies in flight keep their memory
  if (state.host_copy && down.source == state.host_copy.address())
    return leave_host_copy(self);
  for (const auto& partner : {services.reader, state.lane.stager, state.lane.uploader, services.copier})
    if (partner && down.source == partner.address()) {
      if (state.is_ready)
        return;            // the load is over: what is on the device needs nobody
      load.in_flight = 0;  // not all of them will be answered; their memory lives in the messages
      state.asked_of_copy.clear();
      state.chunks.clear();
      return fail(self, partner_lost(load));
    }
  if (auto reason = opener_lost(load))
    fail(self, *reason);
}

caf::behavior holder_behavior(holder_actor* self, const caf::actor& registry, const start_load& order,
                              const holder_services& services, const device_lane& lane, const caf::actor& host_copy) {
  auto& state = self->state;
  state.host_copy = host_copy;
  state.lane = lane;
  begin_load(self, state.load, registry, order, services);
  for (const auto& partner : {state.lane.stager, state.lane.uploader, services.copier, host_copy})
    if (partner)
      self->monitor(partner);
  self->set_down_handler([=](const caf::down_msg& down) { partner_gone(self, down); });
  return {
      [=](const open_result& result) { opened(self, result); },
      [=](const grant_bytes&) { granted(self); },
      [=](const refuse_bytes&) { drop(self); },
      [=](const cancel_load&) { drop(self); },
      [=](const drop_file&) { drop(self); },
      [=](const promote&) {
        auto& load = self->state.load;
        load.urgent = true;
        self->send(load.services.reader, hurry_reads{load.file});
        self->send(self->state.lane.stager, hurry_borrows{load.file});
      },
      [=](const range_lent& range) { range_came(self, range); },
      [=](const slot_lent& lent) { slot_came(self, lent); },
      [=](const chunk_read& done) { chunk_done(self, done); },
      [=](const bytes_copied& done) { copied(self, done); },
      [=](const chunk_failed& failed) { lost(self, failed.index, reason_of(self->state.load, failed)); },
      [=](const chunk_cancelled& cancelled) { gave_up_one(self, cancelled.index); },
      [=](const chunk_uploaded& done) { uploaded(self, done); },
      [=](const upload_failed& failed) { upload_lost(self, failed); },
      [](const lease_change&) {},
  };
}

}  // namespace

caf::actor spawn_device_holder(caf::local_actor* registry, const start_load& order, const holder_services& services,
                               const device_lane& lane, const caf::actor& host_copy) {
  return registry->home_system().spawn(holder_behavior, caf::actor_cast<caf::actor>(registry), order, services, lane,
                                       host_copy);
}

}  // namespace longshore
