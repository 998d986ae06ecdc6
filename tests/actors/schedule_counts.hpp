#pragma once
/// How many histories the tests of schedules run, and from which seed: the environment's word, or a usual number.
///
/// Owns nothing. Failure: stops at the first history that fails, whose seed stands in the trace.

#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

namespace longshore {

inline uint64_t number_from_environment(const char* name, uint64_t otherwise) {
  const auto* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t usual_schedules = 300;
#else
constexpr uint64_t usual_schedules = 3000;
#endif

template <class History>
void for_each_schedule(const History& run) {
  const auto first = number_from_environment("LONGSHORE_SEED", 0);
  const auto count = number_from_environment("LONGSHORE_SCHEDULES", usual_schedules);
  for (uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE("LONGSHORE_SEED=" + std::to_string(seed));
    run(seed);
    ASSERT_FALSE(testing::Test::HasFailure());
  }
}

}  // namespace longshore
