#pragma once
/// The actor that writes traces: takes the records out of the threads' rings at intervals, into a file for Perfetto.
///
/// Owns the file, one at a time; between traces nothing is recorded. The recorder is the process's: of two runtimes
/// that trace at once each record is in one of the traces. Limit: the rings hold what happens in one interval; what
/// does not fit is counted, and the trace says how much that was. Failure: a write that fails ends the writing, and
/// `finish_trace` is answered with the reason.

#include <caf/fwd.hpp>
#include <chrono>

namespace longshore {

struct tracer_options {
  std::chrono::milliseconds interval{50};
};

caf::actor spawn_tracer(caf::actor_system& system, tracer_options options = {});

}  // namespace longshore
