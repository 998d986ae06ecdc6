#pragma once
/// Ordered work on a thread of its own: a stream of the host device, and the marks that streams leave for each other.
///
/// Owns its thread. Work runs in the order in which it was pushed; a completion gets the first failure since the one
/// before. Work after a failure still runs. `close` lets the thread end when nothing is queued any more.
/// Time: a stream keeps a time of its own that runs behind the clock by as much as its thread wakes late, so that paced
/// work, queued ahead, keeps its rate; it lags by `catch_up_limit` at most, so that a pause makes no burst.
/// Limit: `queued_most` pieces of work. Thread rule: all of it from any thread; the last reference to a stream goes
/// anywhere but on its own thread.
/// Failure: what is pushed beyond the limit is `overloaded`, behind the thread's end `stopped`.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "gpu/device.hpp"
#include "gpu/host_link.hpp"

namespace longshore {

class host_event {
public:
  void happen(host_time at);
  host_time wait();  ///< blocks until it has happened; when that was, in the stream's time
  bool is_over() const;

private:
  mutable std::mutex mutex_;
  std::condition_variable happened_;
  bool is_over_ = false;
  host_time at_;
};

class host_stream {
public:
  static constexpr std::chrono::milliseconds catch_up_limit{5};

  /// Gets the stream's time and moves it on.
  using work = std::function<expected<void>(host_time& at)>;

  static expected<std::shared_ptr<host_stream>> make(host_clock clock, size_t queued_most);
  ~host_stream();  ///< closes and waits
  host_stream(const host_stream&) = delete;
  host_stream& operator=(const host_stream&) = delete;

  expected<void> push(work w) { return push(entry{.todo = std::move(w), .completion = {}, .queued_at = {}}); }
  expected<void> push_completion(device_completion completion);

  void close();
  void join();           ///< once, after `close`
  bool is_over() const;  ///< closed, and nothing is left to run

  bool is_this_thread() const { return std::this_thread::get_id() == thread_.get_id(); }

private:
  struct entry {
    work todo;
    device_completion completion;  // instead of work
    host_time queued_at;
  };

  host_stream(host_clock clock, size_t queued_most) : clock_(std::move(clock)), queued_most_(queued_most) {}
  expected<void> push(entry e);
  void run();
  void execute(const entry& e);

  const host_clock clock_;
  const size_t queued_most_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<entry> queue_;
  bool closing_ = false;
  bool is_over_ = false;
  expected<void> failure_;  // of the stream's thread, as is the time
  host_time at_;
  std::thread thread_;
};

}  // namespace longshore
