#pragma once
/// The actor that watches how short of memory the machine and the device are, and asks for some back in time.
///
/// Owns the rule (cache/pressure_rule) and what tells it how things are. Samples every `interval`, a few small reads in
/// its handler. What the host wants back goes to the pin arbiter as `machine_pressure`, what the device wants back to
/// those who use it as `device_pressure`; it waits for no answer. Failure: a sample with a part that makes no sense is
/// judged by the rest of it and shows in `pressure_status`. Whom it tells may be gone; it ends when it is told to.

#include <chrono>
#include <functional>
#include <memory>

#include <caf/actor.hpp>
#include <caf/fwd.hpp>

#include "cache/pressure_rule.hpp"
#include "gpu/device.hpp"
#include "io/memory_pressure.hpp"

namespace longshore {

/// Called on the monitor's thread; must not wait for anything.
using memory_sampler = std::function<memory_sample()>;

/// Samples of the machine, and of the device's memory where there is one.
memory_sampler sampler_of(memory_pressure_source source, std::shared_ptr<const device> target = nullptr);

struct pressure_monitor_options {
  std::chrono::milliseconds interval{100};
  /// Gives back at once what nobody uses, before anybody is asked for what he does use; returns how much that was.
  std::function<uint64_t()> give_back_idle = [] { return uint64_t{0}; };
  pressure_settings settings{};
};

/// `of_device`: who hears of the device's shortage; null ones do not.
caf::actor spawn_pressure_monitor(caf::actor_system& system, memory_sampler sampler, const caf::actor& arbiter,
                                  std::vector<caf::actor> of_device = {}, pressure_monitor_options options = {});

}  // namespace longshore
