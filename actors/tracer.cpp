#include "actors/tracer.hpp"

#include <utility>

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
  bool ticks = false;  // a drain_rings is on its way
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

trace_begun begin(tracer_actor* self, std::shared_ptr<perfetto_writer> writer, const tracer_options& options) {
  auto& state = self->state;
  if (state.writer)
    return {{.code = errc::bad_argument, .what = "a trace is being written already"}};
  state.writer = std::move(writer);
  state.reason = {};
  state.dropped_before = tracer_rings::process().dropped();
  tracer_rings::process().enable();
  if (!std::exchange(state.ticks, true))
    self->delayed_send(self, options.interval, drain_rings{});
  return {};
}

trace_finished finish(tracer_actor* self) {
  auto& state = self->state;
  if (!state.writer)
    return {};
  tracer_rings::process().disable();
  drain(self);
  if (const auto lost = tracer_rings::process().dropped() - state.dropped_before; lost > 0)
    state.writer->note_dropped(lost, trace_now_ns());
  if (auto finished = state.writer->finish(); !finished && state.reason.code == errc{})
    state.reason = finished.error();
  state.writer.reset();
  return {state.reason};
}

caf::behavior tracer_behavior(tracer_actor* self, tracer_options options) {
  return {
      [=](const begin_trace& order) { return begin(self, order.writer, options); },
      [=](drain_rings) {
        drain(self);
        self->state.ticks = self->state.writer != nullptr;
        if (self->state.ticks)
          self->delayed_send(self, options.interval, drain_rings{});
      },
      [=](finish_trace) { return finish(self); },
  };
}

}  // namespace

caf::actor spawn_tracer(caf::actor_system& system, tracer_options options) {
  return system.spawn(tracer_behavior, options);
}

}  // namespace longshore
