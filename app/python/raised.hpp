#pragma once
/// How errors get to Python, for all of the extension's surface.
///
/// Owns nothing; any thread. `failure` is the one exception that leaves a function here; core.cpp translates it.

#include <utility>

#include <nanobind/nanobind.h>

#include "cache/error.hpp"

namespace longshore::python {

// What is in Python's containers, for who checks types.
using named_values = nanobind::typed<nanobind::dict, nanobind::str, nanobind::any>;

/// An error on its way to Python, where longshore/_errors.py makes the exception of it.
struct failure {
  error reason;
};

template <class T>
T value_or_raise(expected<T> result) {
  if (!result)
    throw failure{std::move(result.error())};
  return std::move(*result);
}

}  // namespace longshore::python
