#pragma once
/// To and from the pressure monitor. Its word to the pin arbiter is `machine_pressure` (messages/pin.hpp).

#include <cstdint>
#include <string>

#include "cache/memory_sample.hpp"
#include "messages/local_message.hpp"

namespace longshore {

/// The monitor to itself: time for the next sample.
struct sample_memory {};

/// The monitor to the registry: the device is short of memory, copies there that nobody uses shall go. Sent again while
/// the shortage lasts, so what is asked for already is not asked for twice.
struct device_pressure {
  uint64_t wanted_bytes = 0;
};

/// Answered by `pressure_status`.
struct show_pressure {};

/// What was asked for so far, of the host or of the device.
struct pressure_asked {
  uint64_t times = 0;
  uint64_t last_bytes = 0;
  std::string last_why{};
};

struct pressure_status {
  memory_sample latest{};
  uint64_t samples = 0;
  uint64_t bad_samples = 0;  ///< those in which a source made no sense
  pressure_asked host{};
  pressure_asked device{};
};

}  // namespace longshore

LONGSHORE_LOCAL_MESSAGE(sample_memory)
LONGSHORE_LOCAL_MESSAGE(device_pressure)
LONGSHORE_LOCAL_MESSAGE(show_pressure)
LONGSHORE_LOCAL_MESSAGE(pressure_status)
