#pragma once
/// The link of a host device: one rate that the copies of all its streams share, and the clock that paces them.
///
/// A link hands out turns, one behind the other: a turn begins when the copy is ready and the link is free, and lasts
/// as long as its bytes take. It reads no clock and waits for nothing; whoever takes a turn does. Latency comes before
/// a turn and keeps the link free for others. Limit: the bytes of all turns, over the time from the first one's begin
/// to the last one's end, never exceed the rate. Thread rule: all of it from any thread (a mutex inside). Cannot fail.

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>

namespace longshore {

using host_time = std::chrono::steady_clock::time_point;

/// Both from any thread. A test's clock may do without waiting.
struct host_clock {
  std::function<host_time()> now;
  std::function<void(host_time)> wait_until;  ///< sleeps

  static host_clock steady();
};

class host_link {
public:
  struct turn {
    host_time begin, end;
  };

  /// A rate of 0 is a link without limit: turns take no time.
  host_link(uint64_t bytes_per_s, std::chrono::nanoseconds latency) : bytes_per_s_(bytes_per_s), latency_(latency) {}

  turn take(host_time ready, uint64_t bytes);

  /// How the time from the first turn's begin to the last one's end was used; nothing but zeros without a rate.
  struct usage {
    std::chrono::nanoseconds busy{0};
    std::chrono::nanoseconds whole{0};
  };
  usage used() const;

private:
  const uint64_t bytes_per_s_;
  const std::chrono::nanoseconds latency_;
  mutable std::mutex mutex_;
  host_time first_begin_, free_at_;
  std::chrono::nanoseconds busy_{0};
};

}  // namespace longshore
