#pragma once
/// The part of longshore._core that streams layers: `open_stream`, and what it gives.
///
/// Owns nothing. Needs the interpreter's lock. Failure: as `failure`, see raised.hpp.

#include <nanobind/nanobind.h>

namespace longshore::python {

void add_streams(nanobind::module_& m);

}  // namespace longshore::python
