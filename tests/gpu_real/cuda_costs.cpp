// What the link and page-locking cost on this machine: printed, medians of several rounds, nothing is judged.
#include <algorithm>
#include <chrono>
#include <cstdio>

#include "tests/gpu_real/gpu_fixture.hpp"

using namespace longshore;

namespace {

constexpr int rounds = 7;
constexpr double bytes_a_gib = 1 << 30;

double seconds_of(const std::function<void()>& what) {
  const auto begin = std::chrono::steady_clock::now();
  what();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

double median_seconds(const std::function<void()>& what) {
  std::vector<double> seconds;
  for (int i = 0; i < rounds; ++i)
    seconds.push_back(seconds_of(what));
  return median(std::move(seconds));
}

class cuda_costs : public real_gpu {
protected:
  static constexpr uint64_t bytes = 1 << 30;

  /// Copies `bytes` in chunks and waits for the end; gibibytes a second.
  double rate(const std::byte* source, device_address destination, uint64_t chunk_bytes) {
    const auto seconds = median_seconds([&] {
      for (uint64_t done = 0; done < bytes; done += chunk_bytes)
        EXPECT_TRUE(gpu->copy_to_device(stream, source + done, destination + done, chunk_bytes));
      EXPECT_TRUE(finish());
    });
    return bytes / bytes_a_gib / seconds;
  }
};

TEST_F(cuda_costs, of_copies_to_the_device) {
  const pinned_block pinned{*gpu, bytes};
  const std::vector<std::byte> pageable(bytes);
  const auto address = *gpu->allocate(bytes);
  for (const uint64_t chunk_bytes : {uint64_t{64} << 10, uint64_t{1} << 20, uint64_t{8} << 20, uint64_t{64} << 20})
    std::printf("to the device, chunks of %6llu KiB: pinned %6.2f GiB/s, pageable %6.2f GiB/s\n",
                static_cast<unsigned long long>(chunk_bytes >> 10), rate(pinned.data(), address, chunk_bytes),
                rate(pageable.data(), address, chunk_bytes));
}

TEST_F(cuda_costs, of_page_locking) {
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(pinned_block::page_bytes, bytes));
  std::memset(memory, 1, bytes);
  std::vector<double> there, back;
  for (int i = 0; i < rounds; ++i) {
    there.push_back(seconds_of([&] { EXPECT_TRUE(gpu->register_host(memory, bytes)); }));
    back.push_back(seconds_of([&] { EXPECT_TRUE(gpu->unregister_host(memory)); }));
  }
  std::printf("page-locking 1 GiB of touched memory: %.3f s, undone in %.3f s\n", median(there), median(back));
  std::free(memory);
}

TEST_F(cuda_costs, of_kernels) {
  const auto source = *gpu->allocate(bytes), destination = *gpu->allocate(bytes);
  uint64_t sum = 0;
  const auto checksum = median_seconds([&] {
    EXPECT_TRUE(gpu->checksum(stream, source, bytes, &sum));
    EXPECT_TRUE(finish());
  });
  const auto cast = median_seconds([&] {
    EXPECT_TRUE(gpu->cast(stream, {source, dtype::BF16, destination, dtype::F8_E4M3, bytes / 2}));
    EXPECT_TRUE(finish());
  });
  constexpr uint64_t piece_bytes = 4096, pieces_count = 20'000;
  std::vector<scatter_piece> pieces;
  for (uint64_t i = 0; i < pieces_count; ++i)
    pieces.push_back({i * piece_bytes, destination + i * 2 * piece_bytes, piece_bytes});
  const auto scatter = median_seconds([&] {
    EXPECT_TRUE(gpu->scatter(stream, source, pieces));
    EXPECT_TRUE(finish());
  });
  std::printf("checksum of 1 GiB: %.3f ms; BF16 to F8_E4M3, 1 GiB read: %.3f ms; scatter, 20000 x 4 KiB: %.3f ms\n",
              checksum * 1e3, cast * 1e3, scatter * 1e3);
}

}  // namespace
