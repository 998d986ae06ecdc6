#pragma once
/// Time in a simulation: whoever needs it is given this function, and only the simulation's loop moves it on.
///
/// Owns nothing.

#include <cstdint>
#include <functional>

#include "gpu/host_link.hpp"

namespace longshore {

using simulated_clock = std::function<host_time()>;

/// A span of time in which a disk or a link moved bytes.
struct simulated_turn {
  host_time begin, end;
  uint64_t bytes = 0;
};

}  // namespace longshore
