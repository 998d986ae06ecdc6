#pragma once
/// The actor that writes the trace: takes the records out of the threads' rings at intervals, into a file for Perfetto.
///
/// Owns the file. Limit: the rings hold what happens in one interval; what does not fit is counted, and the trace says
/// how much that was. Failure: a write that fails ends the writing, and `finish_trace` is answered with the reason.

#include <chrono>
#include <memory>

#include <caf/fwd.hpp>

#include "io/perfetto_writer.hpp"

namespace longshore {

struct tracer_options {
  std::chrono::milliseconds interval{50};
};

caf::actor spawn_tracer(caf::actor_system& system, std::shared_ptr<perfetto_writer> writer,
                        tracer_options options = {});

}  // namespace longshore
