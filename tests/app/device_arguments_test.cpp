// Which device the words of the command line mean, and what is said where it is not there.
#include "app/cli/device_arguments.hpp"

#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace longshore {
namespace {

using testing::HasSubstr;

TEST(device_arguments, make_the_device_that_was_asked_for) {
  runtime_options none, host;
  EXPECT_TRUE(device_arguments{}.apply_to(none));
  EXPECT_EQ(none.target, nullptr);
  EXPECT_TRUE((device_arguments{.name = "host", .capacity_bytes = 12345 * 256}.apply_to(host)));
  ASSERT_NE(host.target, nullptr);
  EXPECT_EQ(host.target->memory()->total_bytes, 12345U * 256);
}

TEST(device_arguments, of_the_host_device_are_refused_for_a_gpu) {
  runtime_options options;
  const auto capacity = device_arguments{.name = "cuda", .capacity_bytes = 1 << 20}.apply_to(options);
  const auto link = device_arguments{.name = "cuda", .link_gb_per_s = 1.5}.apply_to(options);
  EXPECT_EQ(capacity.error().code, errc::bad_argument);
  EXPECT_EQ(link.error().code, errc::bad_argument);
}

TEST(device_arguments, without_a_cuda_library_say_where_it_was_looked_for) {
  ASSERT_EQ(::setenv("LONGSHORE_CUDA_LIBRARY", "/nowhere/liblongshore_cuda.so", 1), 0);
  runtime_options options;
  const auto applied = device_arguments{.name = "cuda:1"}.apply_to(options);
  ASSERT_EQ(::unsetenv("LONGSHORE_CUDA_LIBRARY"), 0);
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().code, errc::unsupported);
  EXPECT_THAT(applied.error().what, HasSubstr("/nowhere/liblongshore_cuda.so"));
  EXPECT_EQ(options.target, nullptr);
}

}  // namespace
}  // namespace longshore
