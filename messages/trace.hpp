#pragma once
/// To the tracer.

#include "cache/error.hpp"
#include "messages/local_message.hpp"

namespace longshore {

/// The tracer to itself: take the records out of the rings.
struct drain_rings {};

/// Write the rest and close the file. Answered by `trace_finished`.
struct finish_trace {};

struct trace_finished {
  error reason{};  ///< code 0: the file is complete
};

}  // namespace longshore

LONGSHORE_LOCAL_MESSAGE(drain_rings)
LONGSHORE_LOCAL_MESSAGE(finish_trace)
LONGSHORE_LOCAL_MESSAGE(trace_finished)
