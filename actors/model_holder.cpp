#include "actors/model_holder.hpp"

#include <algorithm>
#include <cassert>
#include <unordered_map>
#include <utility>

#include <caf/actor_system.hpp>
#include <caf/send.hpp>

#include "actors/file_opener.hpp"
#include "actors/traced_actor.hpp"
#include "io/load_memory.hpp"
#include "io/page_cache.hpp"
#include "messages/chunk.hpp"
#include "messages/load.hpp"
#include "messages/slot.hpp"
#include "messages/upload.hpp"

namespace longshore {
namespace {

struct holder_state {
  static constexpr const char* name = "model_holder";
  caf::actor registry;
  holder_services services;
  file_id file = 0;
  file_source source;
  bool urgent = false;
  bool opening = true;
  bool dropping = false;  // told to end: answers file_dropped once nothing is held
  error failure;          // the first thing that went wrong; its code is 0 while nothing did
  std::shared_ptr<opened_file> opened;
  std::shared_ptr<load_memory> memory;
  std::shared_ptr<const held_file> held;
  std::shared_ptr<const device_file> on_device;
  std::unordered_map<uint32_t, std::shared_ptr<const staging_slot>> slots;  // of chunks being read, by index
  std::vector<chunk> plan;
  size_t next_chunk = 0;
  size_t in_flight = 0;
  uint64_t done_bytes = 0;
  uint64_t reported_bytes = 0;
  uint64_t opened_ns = 0;
  load_report report;
};

using holder_actor = traced_actor<holder_state>;

void report_progress(holder_actor* self, load_stage stage) {
  const auto& state = self->state;
  if (state.services.listener)
    self->send(state.services.listener,
               load_progress{state.file, state.source.path, stage, state.done_bytes, state.source.identity.size_bytes});
}

bool failed(const holder_state& state) { return state.failure.code != errc{}; }

bool is_for_device(const holder_state& state) { return state.source.hold == hold_mode::device; }

const model_file& file_of(const holder_state& state) {
  return state.memory ? state.memory->file() : state.opened->file;
}

/// The end of every load that does not stay: once no read is in flight, lets go of everything and says so.
void end_when_idle(holder_actor* self) {
  auto& state = self->state;
  if (state.in_flight > 0 || state.opening || !(state.dropping || failed(state)))
    return;
  state.held.reset();
  state.on_device.reset();
  state.memory.reset();
  state.opened.reset();
  if (state.dropping) {
    self->send(state.registry, file_dropped{state.file});
  } else {
    report_progress(self, load_stage::failed);
    self->send(state.registry, file_failed{state.file, state.failure});
  }
  self->quit();
}

void fail(holder_actor* self, error reason) {
  auto& state = self->state;
  if (!failed(state))
    state.failure = std::move(reason);
  state.next_chunk = state.plan.size();
  if (state.in_flight > 0) {
    self->send(state.services.reader, cancel_reads{state.file});
    if (is_for_device(state))
      self->send(state.services.stager, cancel_borrows{state.file});
  }
  end_when_idle(self);
}

void drop(holder_actor* self) {
  self->state.dropping = true;
  fail(self, {.code = errc::cancelled, .what = "the load was cancelled", .path = self->state.source.path});
}

/// Of host memory or of the device's, as the file is to be held.
uint64_t wanted_bytes(const holder_state& state) {
  switch (state.source.hold) {
    case hold_mode::owned:
      return arena_pool::rounded(state.opened->file.size_bytes());
    case hold_mode::mapped:
      return 0;
    case hold_mode::device:
      return device_layout{*state.opened->header}.total_bytes();
  }
  return 0;
}

void opened(holder_actor* self, const open_result& result) {
  auto& state = self->state;
  state.opening = false;
  if (failed(state))
    return end_when_idle(self);
  if (!result.file)
    return fail(self, result.reason);
  if (is_for_device(state) && !state.services.target)
    return fail(self, {.code = errc::unsupported, .what = "there is no device to load to", .path = state.source.path});
  state.opened = result.file;
  state.opened_ns = trace_now_ns();
  report_progress(self, load_stage::waiting_for_memory);
  self->send(state.registry, file_opened{state.file, wanted_bytes(state)});
}

/// Only when all bytes are in and the file is still the one that the load began with does anybody get to see it.
void finish(holder_actor* self) {
  auto& state = self->state;
  report_progress(self, load_stage::checking);
  if (auto same = file_of(state).check_unchanged(); !same)
    return fail(self, same.error());
  state.report.tensors = state.memory ? state.memory->header().tensors.size() : state.on_device->tensors().size();
  if (state.memory)
    state.held = state.memory->finish();
  state.memory.reset();
  state.opened.reset();
  report_progress(self, load_stage::ready);
  self->send(state.registry, file_ready{state.file, state.held, state.on_device, state.report});
}

/// What a read for a slot needs to live on: the descriptors, and the slot.
struct slot_read {
  std::shared_ptr<const opened_file> opened;
  std::shared_ptr<const staging_slot> slot;
};

void read(holder_actor* self, uint32_t index, std::byte* destination, std::shared_ptr<const void> memory) {
  const auto& state = self->state;
  const auto& file = file_of(state);
  self->send(state.services.reader, read_chunk{.load = state.file,
                                               .index = index,
                                               .urgent = state.urgent,
                                               .what = state.plan[index],
                                               .fd = file.fd(),
                                               .direct_fd = file.direct_fd(),
                                               .alignment_bytes = file.direct_alignment_bytes(),
                                               .destination = destination,
                                               .memory = std::move(memory)});
}

/// To the reader, or, where chunks pass through slots, to the stager first: a slot is the credit for a read.
void send_chunks(holder_actor* self) {
  auto& state = self->state;
  while (state.next_chunk < state.plan.size() && state.in_flight < state.services.options.credits) {
    const auto index = static_cast<uint32_t>(state.next_chunk++);
    ++state.in_flight;
    if (is_for_device(state))
      self->send(state.services.stager, borrow_slot{state.file, index, state.urgent});
    else
      read(self, index, state.memory->destination(state.plan[index]), state.memory);
  }
  if (state.in_flight == 0)
    finish(self);
}

/// One chunk less on its way, without success.
void gave_up_one(holder_actor* self) {
  --self->state.in_flight;
  end_when_idle(self);
}

void slot_came(holder_actor* self, const slot_lent& lent) {
  auto& state = self->state;
  if (failed(state))
    return gave_up_one(self);
  if (!lent.slot) {
    --state.in_flight;
    return fail(self, lent.reason);
  }
  state.slots.emplace(lent.index, lent.slot);
  read(self, lent.index, lent.slot->data(), std::make_shared<const slot_read>(slot_read{state.opened, lent.slot}));
}

void upload(holder_actor* self, uint32_t index) {
  auto& state = self->state;
  const auto slot = std::move(state.slots.extract(index).mapped());
  const auto& c = state.plan[index];
  self->send(state.services.uploader, upload_chunk{.load = state.file,
                                                   .index = index,
                                                   .source = slot->data(),
                                                   .plan = state.on_device->layout().plan(
                                                       c.offset_bytes, c.length_bytes, state.on_device->address()),
                                                   .memory = slot,
                                                   .target = state.on_device});
}

void record_wait(holder_state& state) {
  state.report.waited_for_memory_ns = trace_now_ns() - state.opened_ns;
  if (!tracer_rings::enabled())
    return;
  trace_record record;
  record.kind = trace_kind::wait;
  record.start_ns = state.opened_ns;
  record.duration_ns = state.report.waited_for_memory_ns;
  record.span = next_span();
  record.cause = current_span;
  record.value = state.source.identity.size_bytes;
  record.subject = static_cast<uint32_t>(state.file);
  record.name = tracer_rings::process().names().intern("waits for memory");
  tracer_rings::process().put(record);
}

void granted(holder_actor* self) {
  auto& state = self->state;
  if (failed(state))
    return;
  record_wait(state);
  const auto& options = state.services.options;
  const plan_options planning{
      .chunk_bytes = options.chunk_bytes, .mode = options.page_cache, .leave_in_cache = options.leave_in_cache};
  if (is_for_device(state)) {
    auto target = device_file::allocate(state.services.target, state.source.path, state.opened->header);
    if (!target)
      return fail(self, target.error());
    state.on_device = std::move(*target);
    state.plan = plan_chunks(*state.opened, planning);
  } else {
    auto memory = state.source.hold == hold_mode::owned
                      ? load_memory::owned(std::move(*state.opened), *state.services.pool)
                      : load_memory::mapped(std::move(*state.opened));
    state.opened.reset();
    if (!memory)
      return fail(self, memory.error());
    state.memory = std::move(*memory);
    state.plan = state.memory->plan(planning);
  }
  report_progress(self, load_stage::reading);
  send_chunks(self);
}

/// What was not cached before shall not push out what is, unless it is wanted there.
void leave_as_found(const holder_state& state, const chunk& c, read_path via) {
  if (via == read_path::buffered && !c.was_resident && !state.services.options.leave_in_cache)
    drop_from_page_cache(file_of(state).fd(), c.offset_bytes, c.length_bytes);
}

void chunk_arrived(holder_actor* self, uint32_t index) {
  auto& state = self->state;
  --state.in_flight;
  state.done_bytes += state.plan[index].length_bytes;
  if (state.done_bytes - state.reported_bytes > state.source.identity.size_bytes / 100) {
    state.reported_bytes = state.done_bytes;
    report_progress(self, load_stage::reading);
  }
  send_chunks(self);
}

void chunk_done(holder_actor* self, const chunk_read& done) {
  auto& state = self->state;
  assert(state.in_flight > 0);
  const auto& c = state.plan[done.index];
  span_bytes = c.length_bytes;
  if (failed(state)) {
    state.slots.erase(done.index);
    return gave_up_one(self);
  }
  auto& counter = done.via == read_path::direct     ? state.report.direct_bytes
                  : done.via == read_path::buffered ? state.report.buffered_bytes
                                                    : state.report.mapped_bytes;
  counter += c.length_bytes;
  leave_as_found(state, c, done.via);
  if (is_for_device(state))
    upload(self, done.index);
  else
    chunk_arrived(self, done.index);
}

void uploaded(holder_actor* self, const chunk_uploaded& done) {
  auto& state = self->state;
  span_bytes = state.plan[done.index].length_bytes;
  if (failed(state))
    return gave_up_one(self);
  state.report.uploaded_bytes += span_bytes;
  chunk_arrived(self, done.index);
}

void upload_lost(holder_actor* self, const upload_failed& lost) {
  auto& state = self->state;
  --state.in_flight;
  auto reason = lost.reason;
  reason.path = state.source.path;
  reason.offset_bytes = state.plan[lost.index].offset_bytes;
  fail(self, std::move(reason));
}

/// A file that changed is the better explanation for whatever became of its reads.
void chunk_lost(holder_actor* self, const chunk_failed& lost) {
  auto& state = self->state;
  --state.in_flight;
  state.slots.erase(lost.index);
  if (auto same = file_of(state).check_unchanged(); !same) {
    auto reason = same.error();
    reason.offset_bytes = lost.offset_bytes;
    return fail(self, std::move(reason));
  }
  fail(self,
       {.code = lost.os_error == 0 ? errc::changed_on_disk : errc::io_failed,
        .what = lost.os_error == 0 ? "the file became shorter while it loaded" : "the disk could not read the file",
        .path = state.source.path,
        .offset_bytes = lost.offset_bytes,
        .os_error = lost.os_error});
}

void partner_gone(holder_actor* self, const caf::down_msg& down) {
  if (down.source == self->state.registry.address())
    return self->quit();  // nobody is left to tell; reads in flight keep their memory
  auto& state = self->state;
  const auto& services = state.services;
  const bool is_partner = down.source == services.reader.address() ||
                          (services.stager && down.source == services.stager.address()) ||
                          (services.uploader && down.source == services.uploader.address());
  if (!is_partner) {  // the opener: its result came before, if there was one
    if (std::exchange(state.opening, false))
      fail(self,
           {.code = errc::out_of_budget, .what = "there was no memory for the header", .path = state.source.path});
    return;
  }
  if (state.held || (state.on_device && state.in_flight == 0))
    return;             // the load is over: what is in memory needs nobody
  state.in_flight = 0;  // not all of them will be answered; their memory lives in the messages
  fail(self,
       {.code = errc::stopped, .what = "a partner of the load ended before the load did", .path = state.source.path});
}

caf::behavior holder_behavior(holder_actor* self, const caf::actor& registry, const start_load& order,
                              const holder_services& services) {
  auto& state = self->state;
  state.registry = registry;
  state.services = services;
  state.file = order.file;
  state.source = order.source;
  state.urgent = order.urgent;
  state.report.path = order.source.path;
  auto& names = tracer_rings::process().names();
  const auto file_name = order.source.path.substr(order.source.path.rfind('/') + 1);
  names.name_subject(trace_subject::actor, static_cast<uint32_t>(self->id()), "model_holder " + file_name);
  names.name_subject(trace_subject::load, static_cast<uint32_t>(order.file), file_name);
  names.name_subject(trace_subject::file, static_cast<uint32_t>(order.file), file_name);
  self->monitor(services.reader);
  self->monitor(registry);
  if (is_for_device(state) && services.target) {
    self->monitor(services.stager);
    self->monitor(services.uploader);
  }
  self->set_down_handler([=](const caf::down_msg& down) { partner_gone(self, down); });
  report_progress(self, load_stage::opening);
  spawn_file_opener(self, state.source, services.options.open_on_own_thread);
  return {
      [=](const open_result& result) { opened(self, result); },
      [=](const grant_bytes&) { granted(self); },
      [=](const refuse_bytes&) { drop(self); },
      [=](const cancel_load&) { drop(self); },
      [=](const drop_file&) { drop(self); },
      [=](const promote&) {
        self->state.urgent = true;
        self->send(self->state.services.reader, hurry_reads{self->state.file});
        if (is_for_device(self->state))
          self->send(self->state.services.stager, hurry_borrows{self->state.file});
      },
      [=](const chunk_read& done) { chunk_done(self, done); },
      [=](const chunk_failed& lost) { chunk_lost(self, lost); },
      [=](const chunk_cancelled& cancelled) {
        self->state.slots.erase(cancelled.index);
        gave_up_one(self);
      },
      [=](const slot_lent& lent) { slot_came(self, lent); },
      [=](const chunk_uploaded& done) { uploaded(self, done); },
      [=](const upload_failed& lost) { upload_lost(self, lost); },
  };
}

}  // namespace

caf::actor spawn_model_holder(caf::local_actor* registry, const start_load& order, const holder_services& services) {
  return registry->home_system().spawn(holder_behavior, caf::actor_cast<caf::actor>(registry), order, services);
}

}  // namespace longshore
