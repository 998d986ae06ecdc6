#pragma once
/// What the runtime says of itself, as Python's dicts and lists. Owns nothing; needs the interpreter's lock; cannot
/// fail.

#include <nanobind/nanobind.h>

#include "actors/runtime.hpp"
#include "io/preload_config.hpp"

namespace longshore::python {

nanobind::dict dict_of(const model_list& list);
nanobind::dict dict_of(const pin_status& status);
nanobind::dict dict_of(const pressure_status& status);
nanobind::dict dict_of(const staging_status& status);
nanobind::dict dict_of(const stream_status& status);
nanobind::dict dict_of(const load_progress& news);
nanobind::dict dict_of(const preload_config& config);

}  // namespace longshore::python
