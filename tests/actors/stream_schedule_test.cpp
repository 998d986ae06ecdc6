// Thousands of histories of streams in every order that seeds give. LONGSHORE_SCHEDULES says how many, LONGSHORE_SEED
// from which.
#include "tests/actors/schedule_counts.hpp"
#include "tests/actors/stream_scenario.hpp"

namespace longshore {
namespace {

TEST(stream_schedules, of_any_order_keep_every_promise) {
  const streamed_files files;
  const auto descriptors = open_descriptors();
  uint64_t served = 0, refused = 0;
  for_each_schedule([&](uint64_t seed) {
    stream_scenario history{files, seed};
    history.run();
    served += history.served();
    refused += history.refused();
    EXPECT_EQ(open_descriptors(), descriptors);
  });
  EXPECT_GT(served, refused) << "refusals prove little";
}

}  // namespace
}  // namespace longshore
