#pragma once
/// How a read of a random history fails.
///
/// Owns nothing; the same random numbers give the same faults. Cannot fail.

#include <cerrno>
#include <random>

#include "io/faulty_engine.hpp"

namespace longshore {

inline fault any_fault(std::mt19937_64& random, const read_request& read) {
  switch (random() % 5) {
    case 0:
      return short_read{random() % (read.length_bytes + 1)};
    case 1:
      return failing_read{EIO};
    case 2:
      return failing_read{EAGAIN};
    default:
      return failing_read{EINTR};
  }
}

}  // namespace longshore
