#pragma once
/// A real GPU for the tests that need one: its device, a stream, and registered host memory.
///
/// Owns what it makes until the end of the test. Thread rule: one test's thread. Without a GPU, or without
/// liblongshore_cuda.so, the tests fail: whoever runs this program says that there is one.

#include <cstdlib>
#include <cstring>
#include <future>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "gpu/cuda_device.hpp"
#include "gpu/cuda_library.hpp"

namespace longshore {

/// Page-locked host memory, touched before.
class pinned_block {
public:
  static constexpr uint64_t page_bytes = 4096;

  pinned_block(device& on, uint64_t bytes) : on_(on), bytes_((bytes + page_bytes - 1) / page_bytes * page_bytes) {
    data_ = static_cast<std::byte*>(std::aligned_alloc(page_bytes, bytes_));
    std::memset(data_, 0, bytes_);
    const auto registered = on_.register_host(data_, bytes_);
    EXPECT_TRUE(registered) << to_text(registered.error());
  }
  ~pinned_block() {
    EXPECT_TRUE(on_.unregister_host(data_));
    std::free(data_);
  }
  pinned_block(const pinned_block&) = delete;
  pinned_block& operator=(const pinned_block&) = delete;

  std::byte* data() const { return data_; }
  std::span<std::byte> bytes() const { return {data_, bytes_}; }

  void fill(uint64_t seed) const {
    std::mt19937_64 random{seed};
    for (uint64_t i = 0; i + sizeof(uint64_t) <= bytes_; i += sizeof(uint64_t)) {
      const uint64_t word = random();
      std::memcpy(data_ + i, &word, sizeof word);
    }
  }

private:
  device& on_;
  uint64_t bytes_;
  std::byte* data_;
};

class real_gpu : public testing::Test {
protected:
  void SetUp() override {
    const auto table = load_cuda_table();
    ASSERT_TRUE(table) << to_text(table.error());
    auto made = make_cuda_device(**table);
    ASSERT_TRUE(made) << to_text(made.error());
    gpu = std::move(*made);
    stream = *gpu->make_stream();
  }

  expected<void> finish() { return finish(stream); }
  expected<void> finish(stream_id of) {
    std::promise<expected<void>> over;
    const auto queued = gpu->when_over(of, [&](const expected<void>& result) { over.set_value(result); });
    return queued ? over.get_future().get() : queued;
  }

  std::unique_ptr<device> gpu;
  stream_id stream = 0;
};

}  // namespace longshore
