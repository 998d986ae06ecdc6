#include "actors/tracer.hpp"

#include <caf/actor_system.hpp>

#include "actors/traced_actor.hpp"
#include "io/trace_ring.hpp"
#include "messages/trace.hpp"

namespace longshore {
namespace {

struct tracer_state {
  static constexpr const char* name = "tracer";
  std::shared_ptr<perfetto_writer> writer;
  error reason;
  uint64_t dropped_before = 0;
};

/// The one actor that is not traced: it would trace itself for ever.
using tracer_actor = untraced_actor<tracer_state>;

void drain(tracer_actor* self) {
  auto& state = self->state;
  if (!state.writer)
    return;
  tracer_rings::process().drain(
      [&](const trace_record& record, trace_name_id thread) { state.writer->add(record, thread); });
  if (auto written = state.writer->flush(); !written && state.reason.code == errc{})
    state.reason = written.error();
}

trace_finished finish(tracer_actor* self) {
  auto& state = self->state;
  tracer_rings::process().disable();
  drain(self);
  if (!state.writer)
    return {state.reason};
  if (const auto lost = tracer_rings::process().dropped() - state.dropped_before; lost > 0)
    state.writer->note_dropped(lost, trace_now_ns());
  if (auto finished = state.writer->finish(); !finished && state.reason.code == errc{})
    state.reason = finished.error();
  state.writer.reset();
  return {state.reason};
}

caf::behavior tracer_behavior(tracer_actor* self, std::shared_ptr<perfetto_writer> writer, tracer_options options) {
  self->state.writer = std::move(writer);
  self->state.dropped_before = tracer_rings::process().dropped();
  self->delayed_send(self, options.interval, drain_rings{});
  return {
      [=](drain_rings) {
        drain(self);
        if (self->state.writer)
          self->delayed_send(self, options.interval, drain_rings{});
      },
      [=](finish_trace) { return finish(self); },
  };
}

}  // namespace

caf::actor spawn_tracer(caf::actor_system& system, std::shared_ptr<perfetto_writer> writer, tracer_options options) {
  return system.spawn(tracer_behavior, std::move(writer), options);
}

}  // namespace longshore
