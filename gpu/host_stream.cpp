#include "gpu/host_stream.hpp"

#include <algorithm>
#include <cassert>
#include <system_error>
#include <utility>

namespace longshore {

void host_event::happen(host_time at) {
  {
    const std::lock_guard guard{mutex_};
    is_over_ = true;
    at_ = at;
  }
  happened_.notify_all();
}

host_time host_event::wait() {
  std::unique_lock lock{mutex_};
  happened_.wait(lock, [this] { return is_over_; });
  return at_;
}

bool host_event::is_over() const {
  const std::lock_guard guard{mutex_};
  return is_over_;
}

expected<std::shared_ptr<host_stream>> host_stream::make(host_clock clock, size_t queued_most) {
  std::shared_ptr<host_stream> made{new host_stream(std::move(clock), queued_most)};
  try {
    made->thread_ = std::thread{[stream = made.get()] { stream->run(); }};
  } catch (const std::system_error& failure) {
    return unexpected(error{
        .code = errc::io_failed, .what = "the system gave no thread for a stream", .os_error = failure.code().value()});
  }
  return made;
}

host_stream::~host_stream() {
  close();
  join();
}

expected<void> host_stream::push_completion(device_completion completion) {
  return push(entry{.todo = {}, .completion = std::move(completion), .queued_at = {}});
}

expected<void> host_stream::push(entry e) {
  e.queued_at = clock_.now();
  {
    const std::lock_guard guard{mutex_};
    if (is_over_)
      return unexpected(error{.code = errc::stopped, .what = "the stream has ended"});
    if (queue_.size() >= queued_most_)
      return unexpected(error{.code = errc::overloaded,
                              .what = "the stream has " + std::to_string(queued_most_) + " operations queued already"});
    queue_.push_back(std::move(e));
  }
  wake_.notify_one();
  return {};
}

void host_stream::close() {
  {
    const std::lock_guard guard{mutex_};
    closing_ = true;
  }
  wake_.notify_one();
}

void host_stream::join() {
  assert(!is_this_thread());  // a completion holds the last reference to its own device
  if (thread_.joinable())
    thread_.join();
}

bool host_stream::is_over() const {
  const std::lock_guard guard{mutex_};
  return is_over_;
}

void host_stream::run() {
  std::unique_lock lock{mutex_};
  while (true) {
    wake_.wait(lock, [this] { return closing_ || !queue_.empty(); });
    if (queue_.empty()) {
      is_over_ = true;
      return;
    }
    {
      // What the work holds on to is given up before the next begins, and never under the lock.
      const auto next = std::exchange(queue_.front(), {});
      queue_.pop_front();
      lock.unlock();
      execute(next);
    }
    lock.lock();
  }
}

void host_stream::execute(const entry& e) {
  if (e.completion)
    return e.completion(std::exchange(failure_, {}));
  at_ = std::max(at_, e.queued_at);
  auto result = e.todo(at_);
  if (!result && failure_)
    failure_ = std::move(result);
  at_ = std::max(at_, clock_.now() - catch_up_limit);
}

}  // namespace longshore
