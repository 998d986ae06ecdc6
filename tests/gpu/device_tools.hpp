#pragma once
/// What tests of devices share: waiting for a stream, memory in whole pages, and a clock that nobody waits for.
///
/// Owns what its objects hold. Thread rule: the clock from any thread, the rest from one.

#include <algorithm>
#include <cstdlib>
#include <future>
#include <memory>
#include <mutex>
#include <span>

#include <gtest/gtest.h>

#include "gpu/device.hpp"
#include "gpu/host_link.hpp"

namespace longshore {

/// A value that a thread of the device tells the test. Copies share it, so that telling may outlast the test's wait.
template <class T>
class told {
public:
  void tell(T value) const { promise_->set_value(std::move(value)); }
  T wait() const { return promise_->get_future().get(); }

private:
  std::shared_ptr<std::promise<T>> promise_ = std::make_shared<std::promise<T>>();
};

/// Waits for all work queued in a stream and says how it went.
inline expected<void> finish(device& on, stream_id stream) {
  const told<expected<void>> over;
  auto queued = on.when_over(stream, [over](const expected<void>& result) { over.tell(result); });
  return queued ? over.wait() : queued;
}

/// Host memory in whole pages, each byte known by its place and the seed.
class page_block {
public:
  static constexpr uint64_t page_bytes = 4096;

  explicit page_block(uint64_t bytes, uint8_t seed = 0)
      : size_bytes_(bytes),
        data_(
            static_cast<std::byte*>(std::aligned_alloc(page_bytes, (bytes + page_bytes - 1) / page_bytes * page_bytes)),
            &std::free) {
    for (uint64_t i = 0; i < bytes; ++i)
      data_.get()[i] = static_cast<std::byte>(i * 7 + i / 251 + seed);
  }

  std::byte* data() const { return data_.get(); }
  uint64_t size_bytes() const { return size_bytes_; }
  std::span<const std::byte> bytes() const { return {data_.get(), size_bytes_}; }

private:
  uint64_t size_bytes_;
  std::unique_ptr<std::byte, decltype(&std::free)> data_;
};

inline bool same(std::span<const std::byte> a, std::span<const std::byte> b) { return std::ranges::equal(a, b); }

/// A clock that jumps to what is waited for.
class jumping_clock {
public:
  host_clock clock() {
    return {.now = [this] { return now(); },
            .wait_until =
                [this](host_time at) {
                  const std::lock_guard guard{mutex_};
                  now_ = std::max(now_, at);
                }};
  }

  host_time now() const {
    const std::lock_guard guard{mutex_};
    return now_;
  }

private:
  mutable std::mutex mutex_;
  host_time now_{std::chrono::hours{1}};
};

/// Holds a stream back until it is opened (or gone), so that work can be queued behind it.
class gate {
public:
  void hold(device& on, stream_id stream) {
    ASSERT_TRUE(on.when_over(stream, [opened = opened_.get_future().share()](const auto&) { opened.wait(); }));
  }
  void open() { opened_.set_value(); }

private:
  std::promise<void> opened_;
};

}  // namespace longshore
