// Thousands of histories in every order that seeds give. LONGSHORE_SCHEDULES says how many, LONGSHORE_SEED from which.
#include "tests/actors/random_scenario.hpp"
#include "tests/actors/schedule_counts.hpp"

namespace longshore {
namespace {

void run_schedules(bool with_device) {
  const scenario_files files{with_device};
  const auto descriptors = open_descriptors();
  for_each_schedule([&](uint64_t seed) {
    random_scenario{files, seed, with_device}.run();
    ASSERT_EQ(open_descriptors(), descriptors);
  });
}

TEST(schedules, of_any_order_keep_every_promise) { run_schedules(false); }

TEST(schedules, with_a_device_keep_every_promise_too) { run_schedules(true); }

}  // namespace
}  // namespace longshore
