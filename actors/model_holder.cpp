#include "actors/model_holder.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

#include <caf/actor_system.hpp>
#include <caf/send.hpp>

#include "actors/traced_actor.hpp"
#include "io/load_memory.hpp"
#include "io/page_cache.hpp"
#include "messages/chunk.hpp"
#include "messages/load.hpp"

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
  std::vector<chunk> plan;
  size_t next_chunk = 0;
  size_t in_flight = 0;
  uint64_t done_bytes = 0;
  uint64_t reported_bytes = 0;
  uint64_t opened_ns = 0;
  load_report report;
};

using holder_actor = traced_actor<holder_state>;

struct opener_state {
  static constexpr const char* name = "file_opener";
};

void report_progress(holder_actor* self, load_stage stage) {
  const auto& state = self->state;
  if (state.services.listener)
    self->send(state.services.listener,
               load_progress{state.file, state.source.path, stage, state.done_bytes, state.source.identity.size_bytes});
}

bool failed(const holder_state& state) { return state.failure.code != errc{}; }

/// The end of every load that does not stay: once no read is in flight, lets go of everything and says so.
void end_when_idle(holder_actor* self) {
  auto& state = self->state;
  if (state.in_flight > 0 || state.opening || !(state.dropping || failed(state)))
    return;
  state.held.reset();
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
  if (state.in_flight > 0)
    self->send(state.services.reader, cancel_reads{state.file});
  end_when_idle(self);
}

void drop(holder_actor* self) {
  self->state.dropping = true;
  fail(self, {.code = errc::cancelled, .what = "the load was cancelled", .path = self->state.source.path});
}

void opened(holder_actor* self, const open_result& result) {
  auto& state = self->state;
  state.opening = false;
  if (failed(state))
    return end_when_idle(self);
  if (!result.file)
    return fail(self, result.reason);
  state.opened = result.file;
  state.opened_ns = trace_now_ns();
  report_progress(self, load_stage::waiting_for_memory);
  const auto owned = state.source.hold == hold_mode::owned;
  self->send(state.registry, file_opened{state.file, owned ? arena_pool::rounded(state.opened->file.size_bytes()) : 0});
}

/// Only when all bytes are in and the file is still the one that the load began with does anybody get to see it.
void finish(holder_actor* self) {
  auto& state = self->state;
  report_progress(self, load_stage::checking);
  if (auto same = state.memory->file().check_unchanged(); !same)
    return fail(self, same.error());
  state.report.tensors = state.memory->header().tensors.size();
  state.held = state.memory->finish();
  state.memory.reset();
  report_progress(self, load_stage::ready);
  self->send(state.registry, file_ready{state.file, state.held, state.report});
}

void send_chunks(holder_actor* self) {
  auto& state = self->state;
  const auto& file = state.memory->file();
  while (state.next_chunk < state.plan.size() && state.in_flight < state.services.options.credits) {
    const auto& c = state.plan[state.next_chunk];
    self->send(state.services.reader, read_chunk{.load = state.file,
                                                 .index = static_cast<uint32_t>(state.next_chunk),
                                                 .urgent = state.urgent,
                                                 .what = c,
                                                 .fd = file.fd(),
                                                 .direct_fd = file.direct_fd(),
                                                 .alignment_bytes = file.direct_alignment_bytes(),
                                                 .destination = state.memory->destination(c),
                                                 .memory = state.memory});
    ++state.next_chunk;
    ++state.in_flight;
  }
  if (state.in_flight == 0)
    finish(self);
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
  auto memory = state.source.hold == hold_mode::owned
                    ? load_memory::owned(std::move(*state.opened), *state.services.pool)
                    : load_memory::mapped(std::move(*state.opened));
  state.opened.reset();
  if (!memory)
    return fail(self, memory.error());
  state.memory = std::move(*memory);
  const auto& options = state.services.options;
  state.plan = state.memory->plan(
      {.chunk_bytes = options.chunk_bytes, .mode = options.page_cache, .leave_in_cache = options.leave_in_cache});
  report_progress(self, load_stage::reading);
  send_chunks(self);
}

/// What was not cached before shall not push out what is, unless it is wanted there.
void leave_as_found(const holder_state& state, const chunk& c, read_path via) {
  if (via == read_path::buffered && !c.was_resident && !state.services.options.leave_in_cache)
    drop_from_page_cache(state.memory->file().fd(), c.offset_bytes, c.length_bytes);
}

void chunk_done(holder_actor* self, const chunk_read& done) {
  auto& state = self->state;
  assert(state.in_flight > 0);
  --state.in_flight;
  const auto& c = state.plan[done.index];
  span_bytes = c.length_bytes;
  if (failed(state))
    return end_when_idle(self);
  auto& counter = done.via == read_path::direct     ? state.report.direct_bytes
                  : done.via == read_path::buffered ? state.report.buffered_bytes
                                                    : state.report.mapped_bytes;
  counter += c.length_bytes;
  state.done_bytes += c.length_bytes;
  leave_as_found(state, c, done.via);
  if (state.done_bytes - state.reported_bytes > state.source.identity.size_bytes / 100) {
    state.reported_bytes = state.done_bytes;
    report_progress(self, load_stage::reading);
  }
  send_chunks(self);
}

/// A file that changed is the better explanation for whatever became of its reads.
void chunk_lost(holder_actor* self, const chunk_failed& lost) {
  auto& state = self->state;
  --state.in_flight;
  if (auto same = state.memory->file().check_unchanged(); !same) {
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
  if (down.source != self->state.services.reader.address()) {  // the opener: its result came before, if there was one
    if (std::exchange(self->state.opening, false))
      fail(
          self,
          {.code = errc::out_of_budget, .what = "there was no memory for the header", .path = self->state.source.path});
    return;
  }
  if (self->state.held)
    return;                   // the load is over: what is in memory needs no reader
  self->state.in_flight = 0;  // none of them will be answered; their memory lives in the messages
  fail(self,
       {.code = errc::stopped, .what = "the disk reader ended before the load did", .path = self->state.source.path});
}

void open_in_background(holder_actor* self) {
  auto opener = [source = self->state.source, holder = caf::actor{self}](traced_actor<opener_state>* opener_self) {
    auto opened_now = open_model(source);
    auto result = opened_now ? open_result{std::make_shared<opened_file>(std::move(*opened_now))}
                             : open_result{nullptr, opened_now.error()};
    opener_self->send(holder, std::move(result));
    opener_self->quit();
  };
  if (self->state.services.options.open_on_own_thread)
    self->spawn<caf::detached + caf::monitored>(opener);
  else
    self->spawn<caf::monitored>(opener);
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
  self->set_down_handler([=](const caf::down_msg& down) { partner_gone(self, down); });
  report_progress(self, load_stage::opening);
  open_in_background(self);
  return {
      [=](const open_result& result) { opened(self, result); },
      [=](const grant_bytes&) { granted(self); },
      [=](const refuse_bytes&) { drop(self); },
      [=](const cancel_load&) { drop(self); },
      [=](const drop_file&) { drop(self); },
      [=](const promote&) {
        self->state.urgent = true;
        self->send(self->state.services.reader, hurry_reads{self->state.file});
      },
      [=](const chunk_read& done) { chunk_done(self, done); },
      [=](const chunk_failed& lost) { chunk_lost(self, lost); },
      [=](const chunk_cancelled&) {
        --self->state.in_flight;
        end_when_idle(self);
      },
  };
}

}  // namespace

caf::actor spawn_model_holder(caf::local_actor* registry, const start_load& order, const holder_services& services) {
  return registry->home_system().spawn(holder_behavior, caf::actor_cast<caf::actor>(registry), order, services);
}

}  // namespace longshore
