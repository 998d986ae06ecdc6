#pragma once
/// A device on which torch queues work, as far as memory's lifetime goes: the type that torch keeps free for others,
/// with streams whose queued work is over when the test says so.
///
/// Owns the marks in them. Any thread. Fails by failing expectations, when a wait takes 30 seconds.

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

namespace longshore {

class torch_streams {
public:
  static constexpr int64_t current = 3;  ///< the number of every thread's current stream

  static torch_streams& all();

  void mark(int64_t stream);
  void finish();  ///< all that is queued is over
  void wait();
  void finish_at_waits(bool finish);  ///< whoever waits finds that it is over
  int take_waits();
  std::vector<int64_t> take_marked();

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int64_t> marked_;
  bool is_over_ = false;
  bool finish_at_waits_ = false;
  int waits_ = 0;
};

}  // namespace longshore
