#include "actors/disk_reader.hpp"

#include <cassert>
#include <unordered_map>

#include <caf/actor_system.hpp>
#include <caf/send.hpp>

#include "actors/traced_actor.hpp"
#include "cache/fair_queue.hpp"
#include "io/chunk_progress.hpp"
#include "messages/chunk.hpp"

namespace longshore {
namespace {

/// A chunk with whom to answer, and how far it has come.
struct job {
  read_chunk request;
  caf::actor holder;
  chunk_progress progress;
  uint64_t queued_ns = 0;
  uint64_t submitted_ns = 0;
  trace_span_id cause = 0;
};

struct reader_state {
  static constexpr const char* name = "disk_reader";
  disk_reader_options options;
  std::unordered_map<uint64_t, job> in_flight;  // by tag
  fair_queue<job> queue;
  std::unordered_map<caf::actor_addr, uint64_t> loads;  // monitored holders
  uint64_t next_tag = 1;
  // Last, so that it goes first: its destructor waits for reads into memory that the jobs keep alive.
  std::unique_ptr<read_engine> engine;
};

using reader_actor = traced_actor<reader_state>;

void submit(reader_actor* self, uint64_t tag, job& job) {
  const auto attempt = job.progress.next();
  const auto& r = job.request;
  job.submitted_ns = tracer_rings::enabled() ? trace_now_ns() : 0;
  self->state.engine->submit({.tag = tag,
                              .fd = attempt.path == read_path::direct ? r.direct_fd : r.fd,
                              .offset_bytes = r.what.offset_bytes + attempt.skip_bytes,
                              .destination = r.destination + attempt.skip_bytes,
                              .length_bytes = attempt.length_bytes,
                              .path = attempt.path});
}

void fill_engine(reader_actor* self) {
  auto& state = self->state;
  while (state.in_flight.size() < state.engine->depth()) {
    auto next = state.queue.pop();
    if (!next)
      return;
    const auto tag = state.next_tag++;
    auto& placed = state.in_flight.emplace(tag, std::move(*next)).first->second;
    submit(self, tag, placed);
  }
}

void enqueue(reader_actor* self, const read_chunk& request) {
  auto& state = self->state;
  span_bytes = request.what.length_bytes;
  auto holder = caf::actor_cast<caf::actor>(self->current_sender());
  if (state.loads.emplace(holder.address(), request.load).second)
    self->monitor(holder);
  state.queue.push(request.load, request.urgent,
                   job{.request = request,
                       .holder = std::move(holder),
                       .progress = {request.what, request.alignment_bytes, state.options.max_retries},
                       .queued_ns = tracer_rings::enabled() ? trace_now_ns() : 0,
                       .cause = current_span});
  fill_engine(self);
}

void record_read(const job& job, const read_completion& completed) {
  if (!tracer_rings::enabled() || job.submitted_ns == 0)
    return;
  static const trace_name_id names[] = {tracer_rings::process().names().intern("read direct"),
                                        tracer_rings::process().names().intern("read buffered"),
                                        tracer_rings::process().names().intern("populate")};
  trace_record record;
  record.kind = trace_kind::disk_op;
  record.start_ns = job.submitted_ns;
  record.duration_ns = trace_now_ns() - job.submitted_ns;
  record.waited_ns = job.submitted_ns - job.queued_ns;
  record.span = next_span();
  record.cause = job.cause;
  const auto attempt = job.progress.next();
  record.value = completed.result > 0 ? static_cast<uint64_t>(completed.result) : 0;
  record.detail = job.request.what.offset_bytes + attempt.skip_bytes;
  record.subject = static_cast<uint32_t>(job.request.load);
  record.name = names[static_cast<size_t>(attempt.path)];
  record.os_error = completed.result < 0 ? static_cast<uint8_t>(-completed.result) : 0;
  tracer_rings::process().put(record);
}

void complete(reader_actor* self, const read_completion& completed) {
  auto& state = self->state;
  const auto found = state.in_flight.find(completed.tag);
  assert(found != state.in_flight.end());
  auto& job = found->second;
  record_read(job, completed);
  const auto& r = job.request;
  const auto verdict = job.progress.take(completed.result);
  if (const auto* again = std::get_if<chunk_progress::again>(&verdict)) {
    if (again->after_ms == 0)
      return submit(self, completed.tag, job);
    return self->delayed_send(self, std::chrono::milliseconds(again->after_ms), retry_read{completed.tag});
  }
  job.request.memory.reset();  // before the holder hears of it: what it then frees must be free
  if (const auto* failure = std::get_if<chunk_progress::failed>(&verdict)) {
    self->send(job.holder, chunk_failed{r.load, r.index, failure->os_error, failure->offset_bytes});
  } else {
    span_bytes = r.what.length_bytes;
    self->send(job.holder, chunk_read{r.load, r.index, job.progress.what().path});
  }
  state.in_flight.erase(found);
  fill_engine(self);
}

void cancel(reader_actor* self, uint64_t load) {
  for (auto& job : self->state.queue.cancel(load)) {
    job.request.memory.reset();
    self->send(job.holder, chunk_cancelled{load, job.request.index});
  }
}

void bury(reader_actor* self, const caf::down_msg& gone) {
  if (auto load = self->state.loads.extract(gone.source))
    self->state.queue.cancel(load.mapped());
}

caf::behavior reader_behavior(reader_actor* self, const engine_factory& make_engine, disk_reader_options options) {
  self->state.options = options;
  const caf::weak_actor_ptr inbox{self->ctrl()};  // the engine belongs to the actor: a strong handle would be a cycle
  self->state.engine = make_engine([inbox](const read_completion& completed) {
    if (auto reader = caf::actor_cast<caf::actor>(inbox))
      caf::anon_send(reader, completed);
  });
  self->set_down_handler([=](const caf::down_msg& gone) { bury(self, gone); });
  return {
      [=](const read_chunk& request) { enqueue(self, request); },
      [=](const read_completion& completed) { complete(self, completed); },
      [=](const retry_read& message) { submit(self, message.tag, self->state.in_flight.at(message.tag)); },
      [=](const hurry_reads& message) { self->state.queue.make_urgent(message.load); },
      [=](const cancel_reads& message) { cancel(self, message.load); },
  };
}

}  // namespace

caf::actor spawn_disk_reader(caf::actor_system& system, engine_factory make_engine, disk_reader_options options) {
  return system.spawn(reader_behavior, std::move(make_engine), options);
}

}  // namespace longshore
