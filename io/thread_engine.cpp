#include "io/thread_engine.hpp"

#include <algorithm>
#include <cassert>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

namespace longshore {
namespace {

class thread_engine final : public read_engine {
public:
  thread_engine(size_t depth, completion_callback on_complete) : depth_(depth), on_complete_(std::move(on_complete)) {
    threads_.reserve(depth);
    for (size_t i = 0; i < depth; ++i)
      threads_.emplace_back([this] { work(); });
  }

  ~thread_engine() override {
    {
      const std::lock_guard guard{mutex_};
      stopping_ = true;
    }
    wake_.notify_all();
    for (auto& thread : threads_)
      thread.join();
  }

  void submit(const read_request& request) override {
    {
      const std::lock_guard guard{mutex_};
      assert(in_flight_ < depth_);
      ++in_flight_;
      queue_.push_back(request);
    }
    wake_.notify_one();
  }

  size_t depth() const override { return depth_; }
  std::string_view name() const override { return longshore::name(engine_kind::threads); }

private:
  void work() {
    std::unique_lock lock{mutex_};
    while (true) {
      wake_.wait(lock, [this] { return (stopping_ && queue_.empty()) || next_allowed() != queue_.end(); });
      const auto next = next_allowed();
      if (next == queue_.end()) {
        wake_.notify_all();  // those that waited for a core while the queue emptied
        return;
      }
      const auto request = *next;
      queue_.erase(next);
      run(request, lock);
    }
  }

  void run(const read_request& request, std::unique_lock<std::mutex>& lock) {
    const size_t copies = request.path == read_path::direct ? 0 : 1;
    copying_ += copies;
    lock.unlock();
    const auto result = read_now(request);
    lock.lock();
    copying_ -= copies;
    --in_flight_;  // before the callback, which may lead straight to the next submit
    lock.unlock();
    if (copies > 0)
      wake_.notify_one();
    on_complete_({request.tag, result});
    lock.lock();
  }

  /// The oldest request that may start: direct reads always, copies while a core is free for them.
  std::deque<read_request>::iterator next_allowed() {
    return std::find_if(queue_.begin(), queue_.end(), [this](const read_request& r) {
      return r.path == read_path::direct || copying_ < max_copying_;
    });
  }

  const size_t depth_;
  const size_t max_copying_ = copies_at_once(depth_);
  const completion_callback on_complete_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<read_request> queue_;
  size_t in_flight_ = 0;
  size_t copying_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace

expected<std::unique_ptr<read_engine>> make_thread_engine(size_t depth, completion_callback on_complete) {
  if (depth == 0)
    return unexpected(error{.code = errc::bad_argument, .what = "an engine needs a depth of at least 1"});
  return std::make_unique<thread_engine>(depth, std::move(on_complete));
}

}  // namespace longshore
