#include "actors/pressure_monitor.hpp"

#include <algorithm>
#include <cassert>
#include <optional>
#include <string_view>
#include <utility>

#include <caf/actor_system.hpp>

#include "actors/traced_actor.hpp"
#include "messages/pin.hpp"
#include "messages/pressure.hpp"

namespace longshore {
namespace {

struct monitor_state {
  static constexpr const char* name = "pressure_monitor";
  memory_sampler sampler;
  caf::actor arbiter;
  std::vector<caf::actor> of_device;
  std::chrono::milliseconds interval{};
  std::function<uint64_t()> give_back_idle;
  std::optional<pressure_rule> rule;
  std::optional<caf::actor_clock::time_point> sampled_at;
  pressure_status status;
};

using monitor_actor = traced_actor<monitor_state>;

void trace_available(const memory_sample& sample) {
  const auto tightest = std::min_element(
      sample.host.begin(), sample.host.end(),
      [](const memory_level& a, const memory_level& b) { return a.available_bytes < b.available_bytes; });
  if (tightest != sample.host.end())
    trace_counter("available host bytes", tightest->available_bytes);
  if (sample.device)
    trace_counter("available device bytes", sample.device->available_bytes);
}

void record_pressure(monitor_actor* self, std::string_view what, uint64_t wanted_bytes) {
  span_bytes = wanted_bytes;
  if (!tracer_rings::enabled())
    return;
  trace_record record;
  record.kind = trace_kind::instant;
  record.start_ns = trace_now_ns();
  record.cause = current_span;
  record.value = wanted_bytes;
  record.subject = static_cast<uint32_t>(self->id());
  record.name = tracer_rings::process().names().intern(what);
  tracer_rings::process().put(record);
}

void note(pressure_asked& asked, const pressure_wish& wish) {
  ++asked.times;
  asked.last_bytes = wish.wanted_bytes;
  asked.last_why = wish.why;
}

void act_on(monitor_actor* self, const pressure_wishes& wishes) {
  auto& state = self->state;
  if (wishes.host.wanted_bytes > 0) {
    note(state.status.host, wishes.host);
    record_pressure(self, "memory pressure", wishes.host.wanted_bytes);
    const auto wanted = wishes.host.wanted_bytes;
    self->send(state.arbiter, machine_pressure{wanted - std::min(wanted, state.give_back_idle())});
  }
  if (wishes.device.wanted_bytes > 0) {
    note(state.status.device, wishes.device);
    record_pressure(self, "device memory pressure", wishes.device.wanted_bytes);
    for (const auto& user : state.of_device)
      if (user)
        self->send(user, device_pressure{wishes.device.wanted_bytes});
  }
}

/// By the clock, not by the interval: a busy machine, the one that is short of memory, samples late.
std::chrono::milliseconds time_since_last(monitor_actor* self) {
  const auto now = self->clock().now();
  const auto before = std::exchange(self->state.sampled_at, now).value_or(now);
  return std::chrono::duration_cast<std::chrono::milliseconds>(now - before);
}

void sample(monitor_actor* self) {
  auto& state = self->state;
  state.status.latest = state.sampler();
  ++state.status.samples;
  if (state.status.latest.problem.code != errc{})
    ++state.status.bad_samples;
  trace_available(state.status.latest);
  act_on(self, state.rule->judge(state.status.latest, time_since_last(self)));
  self->delayed_send(self, state.interval, sample_memory{});
}

caf::behavior monitor_behavior(monitor_actor* self, memory_sampler sampler, const caf::actor& arbiter,
                               std::vector<caf::actor> of_device, const pressure_monitor_options& options) {
  assert(options.interval > std::chrono::milliseconds::zero());
  auto& state = self->state;
  state.sampler = std::move(sampler);
  state.arbiter = arbiter;
  state.of_device = std::move(of_device);
  state.interval = options.interval;
  state.give_back_idle = options.give_back_idle;
  state.rule.emplace(options.settings);
  self->send(self, sample_memory{});
  return {
      [=](sample_memory) { sample(self); },
      [=](show_pressure) { return self->state.status; },
  };
}

}  // namespace

memory_sampler sampler_of(memory_pressure_source source, std::shared_ptr<const device> target) {
  return [source = std::move(source), target = std::move(target)] {
    auto now = source.sample();
    if (!target)
      return now;
    if (const auto memory = target->memory())
      now.device = memory_level{.name = "memory of device " + target->name(),
                                .limit_bytes = memory->total_bytes,
                                .available_bytes = memory->free_bytes};
    else if (now.problem.code == errc{})
      now.problem = memory.error();
    return now;
  };
}

caf::actor spawn_pressure_monitor(caf::actor_system& system, memory_sampler sampler, const caf::actor& arbiter,
                                  std::vector<caf::actor> of_device, pressure_monitor_options options) {
  return system.spawn(monitor_behavior, std::move(sampler), arbiter, std::move(of_device), options);
}

}  // namespace longshore
