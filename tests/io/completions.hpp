#pragma once
/// What an engine reported, for the test that waits for it.
///
/// Owns the completions. Thread rule: the callback runs on the engine's threads, the rest on the test's. Must outlive
/// its engine. `wait_for` blocks until there are so many; an engine that loses one is found by the test's time limit.

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include "io/read_engine.hpp"

namespace longshore {

class completions {
public:
  completion_callback callback() {
    return [this](const read_completion& completion) {
      const std::lock_guard guard{mutex_};
      all_.push_back(completion);
      arrived_.notify_all();
    };
  }

  /// All that came so far, once there are at least `count`.
  std::vector<read_completion> wait_for(size_t count) {
    std::unique_lock lock{mutex_};
    arrived_.wait(lock, [&] { return all_.size() >= count; });
    return all_;
  }

  /// The next one that nobody took yet.
  read_completion next() {
    std::unique_lock lock{mutex_};
    arrived_.wait(lock, [&] { return all_.size() > taken_; });
    return all_[taken_++];
  }

  size_t count() {
    const std::lock_guard guard{mutex_};
    return all_.size();
  }

private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<read_completion> all_;
  size_t taken_ = 0;
};

}  // namespace longshore
