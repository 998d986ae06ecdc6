#pragma once
/// A CUDA stream with completions: work is queued in order, and a thread waits for its end and says how it went.
///
/// Owns the runtime's stream and a thread, which sleeps in CUDA until the event behind the oldest completion has come,
/// and never holds the stream up. Work that CUDA refuses has queued nothing; where several calls belong together and a
/// later one is refused, the work counts as queued, and the completions behind it are told, as of all that fails later.
/// A completion comes in any case: where no event can be had for it, it waits for the whole stream and is told so.
/// `close` lets the thread end when no completion is left; then it waits for what is queued without one, and destroys
/// the stream.
/// Limit: CUDA's own queue (about a thousand entries); a call that finds it full waits inside CUDA.
/// Thread rule: all of it from any thread; but whoever keeps a stream joins it before the last reference goes, since
/// that may go on the stream's own thread. Failure: what CUDA says; `stopped` for work after the stream's end.

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "gpu/cuda_calls.hpp"
#include "gpu/device.hpp"

namespace longshore {

/// Calls of the runtime that belong together, made one after the other while nothing else enters the stream.
struct cuda_work {
  std::string what;  ///< could not be done, for the error: "cannot copy 5 bytes"
  std::function<int(cuda_stream_handle stream, size_t number)> call;
  size_t calls = 1;
};

class cuda_stream {
public:
  static expected<std::shared_ptr<cuda_stream>> make(const cuda_calls& calls);
  ~cuda_stream();  ///< closes and joins
  cuda_stream(const cuda_stream&) = delete;
  cuda_stream& operator=(const cuda_stream&) = delete;

  expected<void> queue(const cuda_work& work);

  /// The same, then `after` on the stream's thread, before any later completion. What failed is told to both.
  expected<void> queue(const cuda_work& work, device_completion after);

  expected<void> when_over(device_completion completion);

  void close();
  void join();           ///< by one thread at a time
  bool is_over() const;  ///< closed, and its thread will not run anything any more

private:
  struct entry {
    std::optional<cuda_event> event;  // none: could not be recorded, and the whole stream is waited for
    std::optional<error> failure;     // of a call, since the entry before
    device_completion completion;
    bool is_last_to_know;  // a failure is told to it, and then to nobody else
  };

  cuda_stream(const cuda_calls& calls, cuda_stream_handle handle) : calls_(calls), handle_(handle) {}
  expected<void> call_all(const cuda_work& work);
  void mark_and_push(expected<cuda_event> event, device_completion completion, bool is_last_to_know);
  void start(std::promise<expected<void>> started);
  void run();
  expected<void> wait_for(const entry& next);
  void complete(entry next);
  void end();

  const cuda_calls calls_;
  const cuda_stream_handle handle_;
  expected<void> result_;  // the thread's own: what the next completion is told

  mutable std::mutex mutex_;  // held while CUDA queues, so that its order is the order of completions
  std::condition_variable wake_;
  std::deque<entry> queue_;
  std::optional<error> failure_;  // of a call, not told yet
  bool closing_ = false;
  bool ended_ = false;  // takes no more work
  bool is_over_ = false;
  std::thread thread_;
};

}  // namespace longshore
