#pragma once
/// A scenario, replayed: what happened when, and what it took.
///
/// Owns the files of the models while it runs, and their removal. Blocks its thread for as long as the messages take to
/// handle: milliseconds for each thousand chunks. Deterministic: a scenario has one result. Failure: what making the
/// files or wiring the actors gives, `cancelled` when `should_stop` says so. A step that is refused its model is a
/// result like any other.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "app/simulate/scenario.hpp"
#include "app/simulate/virtual_runtime.hpp"

namespace longshore {

/// A span of virtual time, from the begin of the simulation.
struct simulated_span {
  std::chrono::nanoseconds begin{0}, end{0};
};

struct step_outcome {
  simulated_span load;                 ///< from the request to the answer
  std::chrono::nanoseconds lease_end;  ///< when the model was given back
  bool hit = false;
  error reason{};  ///< code 0: the model was there
};

enum class model_state : uint8_t { absent, waiting, reading, used, cached };

/// "absent" and so on.
const char* name(model_state state);

/// One model in one tier of memory, as time goes by.
struct model_history {
  struct change {
    std::chrono::nanoseconds at;
    model_state state;
  };

  size_t model = 0;
  hold_choice hold{};
  std::vector<change> changes;
  std::vector<std::chrono::nanoseconds> evictions;
  std::vector<std::chrono::nanoseconds> refusals;
};

struct memory_change {
  std::chrono::nanoseconds at;
  simulated_memory memory;
};

/// A span in which a disk or a link moved bytes.
struct transfer {
  simulated_span when;
  uint64_t bytes = 0;
};

/// The time that bytes need at the least, whoever moves them: disk and link at full rate, beside each other.
struct arithmetic_bound {
  double disk_seconds = 0;
  double link_seconds = 0;

  double seconds() const { return std::max(disk_seconds, link_seconds); }
};

struct simulation_result {
  std::vector<step_outcome> steps;       ///< as in the scenario
  std::vector<model_history> histories;  ///< by first use
  std::vector<memory_change> memory;
  std::vector<transfer> reads, uploads;
  std::chrono::nanoseconds end{0};
  double loading_seconds = 0;  ///< in which at least one step waited for its model
  uint64_t read_bytes = 0;
  uint64_t uploaded_bytes = 0;
  uint64_t evictions = 0;
  uint64_t refusals = 0;
  simulated_memory peak;
  arithmetic_bound bound;  ///< each model that was there read once, and copied to the device once where it was there
  double disk_busy_share = 0, link_busy_share = 0;  ///< of the time between their first and their last byte
};

expected<simulation_result> simulate(const scenario& what, const std::function<bool()>& should_stop = {});

}  // namespace longshore
