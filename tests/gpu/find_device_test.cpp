// Which device a name stands for.
#include "gpu/find_device.hpp"

#include <gtest/gtest.h>

namespace longshore {
namespace {

TEST(find_device, knows_a_gpu_by_its_number) {
  EXPECT_EQ(cuda_index_of("cuda"), 0);
  EXPECT_EQ(cuda_index_of("cuda:0"), 0);
  EXPECT_EQ(cuda_index_of("cuda:12"), 12);
  for (const auto* word : {"none", "host", "cuda:", "cuda:-1", "cuda:1x", "cuda: 1", "cuda:99999", "CUDA", "cuda1"})
    EXPECT_EQ(cuda_index_of(word), std::nullopt) << word;
}

TEST(find_device, makes_the_host_device_that_was_asked_for) {
  const auto made = find_device("host", {.capacity_bytes = 12345 * 256});
  ASSERT_TRUE(made) << to_text(made.error());
  EXPECT_EQ((*made)->name(), "host");
  EXPECT_EQ((*made)->memory()->total_bytes, 12345U * 256);
}

TEST(find_device, refuses_other_names) {
  for (const auto* word : {"", "none", "tpu", "cuda:x"}) {
    const auto refused = find_device(word);
    ASSERT_FALSE(refused) << word;
    EXPECT_EQ(refused.error().code, errc::bad_argument) << word;
  }
}

}  // namespace
}  // namespace longshore
