#include "actors/device_holder.hpp"

#include <utility>

#include <caf/actor_system.hpp>
#include <caf/send.hpp>

#include "actors/chunk_moves.hpp"
#include "actors/file_load.hpp"
#include "actors/traced_actor.hpp"
#include "io/load_memory.hpp"
#include "io/model_source.hpp"

namespace longshore {
namespace {

struct holder_state {
  static constexpr const char* name = "device_holder";
  file_load load;
  chunk_moves moves;
  caf::actor host_copy;  // null: all comes from the disk
  std::shared_ptr<const device_file> on_device;
  bool is_ready = false;
};

using holder_actor = traced_actor<holder_state>;

void end_when_idle(holder_actor* self) {
  auto& state = self->state;
  if (!state.moves.under_way.empty() || state.load.opening || !state.load.is_ending())
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
  end_moves(self, state.moves);
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
  load.report.upload_ns = state.moves.first_upload_ns == 0 ? 0 : trace_now_ns() - state.moves.first_upload_ns;
  load.opened.reset();
  state.is_ready = true;
  report_progress(self, load, load_stage::ready);
  self->send(load.registry, file_ready{load.file, nullptr, state.on_device, load.report});
}

void count_move(file_load& load, const move_over& over) {
  const auto& moved = over.moved;
  if (moved.via)
    count_read(load, chunk_read{load.file, over.index, *moved.via});
  else
    load.report.host_copy_bytes += moved.move.what.own_bytes();
  load.report.uploaded_bytes += moved.move.what.own_bytes();
}

void send_chunks(holder_actor* self) {
  auto& state = self->state;
  auto& load = state.load;
  while (load.next_chunk < load.plan.size() && state.moves.under_way.size() < load.services.options.credits) {
    const auto index = static_cast<uint32_t>(load.next_chunk++);
    const auto& c = load.plan[index];
    begin_move(self, state.moves, index,
               {.file = load.opened,
                .path = load.source.path,
                .what = c,
                .host_copy = state.host_copy,
                .plan = state.on_device->layout().plan(c.offset_bytes, c.length_bytes, state.on_device->address(), {},
                                                       c.overlap_bytes),
                .target = state.on_device});
  }
  if (state.moves.under_way.empty())
    finish(self);
}

void chunk_over(holder_actor* self, const move_over& over) {
  auto& load = self->state.load;
  if (load.is_ending())
    return end_when_idle(self);
  if (over.reason.code != errc{})
    return fail(self, over.reason);
  count_move(load, over);
  count_done(self, load, over.index);
  send_chunks(self);
}

template <class Answer>
void stepped(holder_actor* self, const Answer& answer) {
  if (const auto over = step_over(self, self->state.moves, answer))
    chunk_over(self, *over);
}

void uploaded(holder_actor* self, const chunk_uploaded& done) {
  span_bytes = self->state.load.plan[done.index].length_bytes;
  stepped(self, done);
}

/// The file is open, so no chunk is lost by it.
void do_without_copy(holder_actor* self) {
  auto& state = self->state;
  if (const auto copy = std::exchange(state.host_copy, nullptr))
    leave_host_copy(self, state.moves, copy.address());
}

void range_came(holder_actor* self, const range_lent& range) {
  if (range.data == nullptr)
    do_without_copy(self);
  else
    stepped(self, range);
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
    return do_without_copy(self);
  for (const auto& partner : {services.reader, state.moves.lane.stager, state.moves.lane.uploader, services.copier})
    if (partner && down.source == partner.address()) {
      if (state.is_ready)
        return;                       // the load is over: what is on the device needs nobody
      state.moves.under_way.clear();  // not all of them will be answered; their memory lives in the messages
      return fail(self, partner_lost(load));
    }
  if (auto reason = opener_lost(load))
    fail(self, *reason);
}

caf::behavior holder_behavior(holder_actor* self, const caf::actor& registry, const start_load& order,
                              const holder_services& services, const device_lane& lane, const caf::actor& host_copy) {
  auto& state = self->state;
  state.host_copy = host_copy;
  begin_load(self, state.load, registry, order, services);
  state.moves = {
      .load = order.file, .urgent = order.urgent, .reader = services.reader, .copier = services.copier, .lane = lane};
  for (const auto& partner : {lane.stager, lane.uploader, services.copier, host_copy})
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
        self->state.load.urgent = true;
        hurry_moves(self, self->state.moves);
      },
      [=](const range_lent& range) { range_came(self, range); },
      [=](const slot_lent& lent) { stepped(self, lent); },
      [=](const chunk_read& done) { stepped(self, done); },
      [=](const bytes_copied& done) { stepped(self, done); },
      [=](const chunk_failed& failed) { stepped(self, failed); },
      [=](const chunk_cancelled& cancelled) { stepped(self, cancelled); },
      [=](const chunk_uploaded& done) { uploaded(self, done); },
      [=](const upload_failed& failed) { stepped(self, failed); },
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
