#pragma once
/// To the tracer.

#include <memory>

#include "cache/error.hpp"
#include "io/perfetto_writer.hpp"
#include "messages/local_message.hpp"

namespace longshore {

/// The tracer to itself: take the records out of the rings.
struct drain_rings {};

/// Record from now on, into this. Answered by `trace_begun`.
struct begin_trace {
  std::shared_ptr<perfetto_writer> writer;
};

struct trace_begun {
  error reason{};  ///< code 0: it has; `bad_argument` while another is being written
};

/// Write the rest and close the file. Answered by `trace_finished`.
struct finish_trace {};

struct trace_finished {
  error reason{};  ///< code 0: the file is complete, or there was no trace
};

}  // namespace longshore

LONGSHORE_LOCAL_MESSAGE(drain_rings)
LONGSHORE_LOCAL_MESSAGE(begin_trace)
LONGSHORE_LOCAL_MESSAGE(trace_begun)
LONGSHORE_LOCAL_MESSAGE(finish_trace)
LONGSHORE_LOCAL_MESSAGE(trace_finished)
