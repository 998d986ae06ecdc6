#include "gpu/host_link.hpp"

#include <algorithm>
#include <cmath>
#include <thread>

namespace longshore {

host_clock host_clock::steady() {
  return {.now = [] { return std::chrono::steady_clock::now(); },
          .wait_until = [](host_time at) { std::this_thread::sleep_until(at); }};
}

host_link::turn host_link::take(host_time ready, uint64_t bytes) {
  ready += latency_;
  if (bytes_per_s_ == 0)
    return {ready, ready};
  const auto ns = std::ceil(1e9 * static_cast<double>(bytes) / static_cast<double>(bytes_per_s_));
  const std::lock_guard guard{mutex_};
  const auto begin = std::max(ready, free_at_);
  if (busy_.count() == 0)
    first_begin_ = begin;
  const std::chrono::nanoseconds lasts{static_cast<int64_t>(ns)};
  busy_ += lasts;
  free_at_ = begin + lasts;
  return {begin, free_at_};
}

host_link::usage host_link::used() const {
  const std::lock_guard guard{mutex_};
  return {busy_, free_at_ - first_begin_};
}

}  // namespace longshore
