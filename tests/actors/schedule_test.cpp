// Thousands of histories in every order that seeds give. LONGSHORE_SCHEDULES says how many, LONGSHORE_SEED from which.
#include <cstdlib>

#include "tests/actors/random_scenario.hpp"

namespace longshore {
namespace {

uint64_t number_from_environment(const char* name, uint64_t otherwise) {
  const auto* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr uint64_t usual_schedules = 300;
#else
constexpr uint64_t usual_schedules = 3000;
#endif

void run_schedules(bool with_device) {
  const scenario_files files{with_device};
  const auto first = number_from_environment("LONGSHORE_SEED", 0);
  const auto count = number_from_environment("LONGSHORE_SCHEDULES", usual_schedules);
  const auto descriptors = open_descriptors();
  for (uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE("LONGSHORE_SEED=" + std::to_string(seed));
    random_scenario{files, seed, with_device}.run();
    ASSERT_EQ(open_descriptors(), descriptors);
    ASSERT_FALSE(testing::Test::HasFailure());
  }
}

TEST(schedules, of_any_order_keep_every_promise) { run_schedules(false); }

TEST(schedules, with_a_device_keep_every_promise_too) { run_schedules(true); }

}  // namespace
}  // namespace longshore
