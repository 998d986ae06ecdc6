// The pace of copies: exact on a clock that jumps, and on the real one never too early and without spinning.
#include "gpu/host_link.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/resource.h>

#include <array>

#include "gpu/host_device.hpp"
#include "tests/gpu/device_tools.hpp"

using namespace longshore;
using namespace std::chrono_literals;

namespace {

constexpr uint64_t mib = 1 << 20;

TEST(host_device_pace, all_streams_together_take_what_their_bytes_take) {
  jumping_clock time;
  const page_block host{mib};
  host_device device{{.link_bytes_per_s = 1'000'000'000, .clock = time.clock()}};
  const auto begin = time.now();
  const std::array streams{device.make_stream().value(), device.make_stream().value(), device.make_stream().value()};
  const std::array results{page_block{mib}, page_block{mib}, page_block{mib}};
  const auto address = device.allocate(3 * mib).value();
  for (int i = 0; i < 8; ++i)
    for (size_t at = 0; at < streams.size(); ++at) {
      ASSERT_TRUE(device.copy_to_device(streams[at], host.data(), address + at * mib, 1'000'000));
      ASSERT_TRUE(device.copy_to_host(streams[at], address + at * mib, results[at].data(), 1'000'000));
    }
  for (const auto stream : streams)
    ASSERT_TRUE(finish(device, stream));
  EXPECT_EQ(time.now() - begin, 48ms) << "not less, and with the link never idle not more";
}

TEST(host_device_pace, latency_is_paid_by_each_copy_and_keeps_the_link_free) {
  jumping_clock time;
  const page_block host{4096};
  host_device device{{.copy_latency = 10us, .clock = time.clock()}};
  const auto stream = device.make_stream().value();
  const auto address = device.allocate(4096).value();
  const auto begin = time.now();
  for (int i = 0; i < 5; ++i)
    ASSERT_TRUE(device.copy_to_device(stream, host.data(), address, 4096));
  ASSERT_TRUE(finish(device, stream));
  EXPECT_EQ(time.now() - begin, 50us);
}

TEST(host_device_pace, a_real_clock_is_never_beaten_and_waiting_is_asleep) {
  const page_block host{mib};
  host_device device{{.link_bytes_per_s = 20 * mib}};
  const auto first = device.make_stream().value(), second = device.make_stream().value();
  const auto address = device.allocate(2 * mib).value();
  const auto cpu_time = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return std::chrono::seconds{usage.ru_utime.tv_sec + usage.ru_stime.tv_sec} +
           std::chrono::microseconds{usage.ru_utime.tv_usec + usage.ru_stime.tv_usec};
  };
  const auto cpu_before = cpu_time();
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_TRUE(device.copy_to_device(first, host.data(), address, mib));
  ASSERT_TRUE(device.copy_to_device(second, host.data(), address + mib, mib));
  ASSERT_TRUE(device.copy_to_device(first, host.data(), address, mib));
  ASSERT_TRUE(finish(device, first));
  ASSERT_TRUE(finish(device, second));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 150ms);
  EXPECT_LT(cpu_time() - cpu_before, 75ms) << "half of what spinning would take";
}

RC_GTEST_PROP(host_link, turns_neither_overlap_nor_come_early, ()) {
  const auto bytes_per_s = *rc::gen::inRange<uint64_t>(1'000, 100'000'000'000);
  host_link link{bytes_per_s, 3us};
  host_time free_at;
  for (const auto& [ready_us, bytes] : *rc::gen::container<std::vector<std::pair<uint32_t, uint32_t>>>(
           rc::gen::arbitrary<std::pair<uint32_t, uint32_t>>())) {
    const host_time ready{std::chrono::microseconds{ready_us}};
    const auto turn = link.take(ready, bytes);
    RC_ASSERT(turn.begin == std::max(ready + 3us, free_at));
    const auto took = std::chrono::duration<double>{turn.end - turn.begin}.count();
    RC_ASSERT(took * static_cast<double>(bytes_per_s) >= static_cast<double>(bytes) * 0.999'999);
    RC_ASSERT(turn.end - turn.begin <=
              std::chrono::nanoseconds{1} +
                  std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>{
                      1.000'001 * static_cast<double>(bytes) / static_cast<double>(bytes_per_s)}));
    free_at = turn.end;
  }
}

}  // namespace
