#include "gpu/cuda_stream.hpp"

#include <system_error>
#include <utility>

namespace longshore {
namespace {

constexpr unsigned completion_flags = cuda_event_disable_timing | cuda_event_blocking_sync;

unexpected stopped() { return unexpected(error{.code = errc::stopped, .what = "the stream has ended"}); }

}  // namespace

expected<std::shared_ptr<cuda_stream>> cuda_stream::make(const cuda_calls& calls) {
  cuda_stream_handle handle = nullptr;
  if (auto made =
          calls.check(calls->stream_create_with_flags(&handle, cuda_stream_non_blocking), "cannot make a stream");
      !made)
    return unexpected(std::move(made.error()));
  std::shared_ptr<cuda_stream> stream{new cuda_stream{calls, handle}};
  std::promise<expected<void>> starting;
  auto started = starting.get_future();
  try {
    stream->thread_ = std::thread(
        [self = stream.get(), promise = std::move(starting)]() mutable { self->start(std::move(promise)); });
  } catch (const std::system_error& failure) {
    stream->end();
    return unexpected(
        error{.code = errc::io_failed, .what = "cannot start a stream's thread", .os_error = failure.code().value()});
  }
  if (auto result = started.get(); !result)
    return unexpected(std::move(result.error()));
  return stream;
}

cuda_stream::~cuda_stream() {
  close();
  join();
}

void cuda_stream::join() {
  if (thread_.joinable())
    thread_.join();
}

/// All calls or none, as far as CUDA lets us: only what the first call is refused has queued nothing.
expected<void> cuda_stream::call_all(const cuda_work& work) {
  if (ended_)
    return stopped();
  for (size_t number = 0; number < work.calls; ++number) {
    auto done = calls_.check(work.call(handle_, number), work.what);
    if (done)
      continue;
    if (number == 0)
      return done;
    if (!failure_)
      failure_ = std::move(done.error());
    break;
  }
  return {};
}

expected<void> cuda_stream::queue(const cuda_work& work) {
  const std::lock_guard guard{mutex_};
  return call_all(work);
}

expected<void> cuda_stream::queue(const cuda_work& work, device_completion after) {
  auto event = cuda_event::make(calls_, completion_flags);  // first: what can be refused while nothing is queued
  if (!event)
    return unexpected(std::move(event.error()));
  const std::lock_guard guard{mutex_};
  if (auto called = call_all(work); !called)
    return called;
  mark_and_push(std::move(event), std::move(after), false);
  return {};
}

/// Never refused while the stream lives: whoever asks when copies are over needs an answer, most of all if they fail.
expected<void> cuda_stream::when_over(device_completion completion) {
  auto event = calls_.select().and_then([&] { return cuda_event::make(calls_, completion_flags); });
  const std::lock_guard guard{mutex_};
  if (ended_)
    return stopped();
  mark_and_push(std::move(event), std::move(completion), true);
  return {};
}

void cuda_stream::mark_and_push(expected<cuda_event> event, device_completion completion, bool is_last_to_know) {
  auto marked = event ? calls_.check(calls_->event_record(event->handle(), handle_), "cannot mark a stream")
                      : expected<void>{unexpected(std::move(event.error()))};
  std::optional<cuda_event> mark;
  if (marked)
    mark = std::move(*event);
  else if (!failure_)
    failure_ = std::move(marked.error());
  queue_.push_back({std::move(mark), std::exchange(failure_, std::nullopt), std::move(completion), is_last_to_know});
  wake_.notify_one();
}

void cuda_stream::close() {
  const std::lock_guard guard{mutex_};
  closing_ = true;
  wake_.notify_one();
}

bool cuda_stream::is_over() const {
  const std::lock_guard guard{mutex_};
  return is_over_;
}

/// A thread without its device would make a context on another one: it ends at once, and says so.
void cuda_stream::start(std::promise<expected<void>> started) {
  auto selected = calls_.select();
  const bool can_run = selected.has_value();
  started.set_value(std::move(selected));
  if (can_run)
    run();
  end();
}

void cuda_stream::run() {
  std::unique_lock lock{mutex_};
  while (true) {
    wake_.wait(lock, [this] { return closing_ || !queue_.empty(); });
    if (queue_.empty()) {
      ended_ = true;  // under the same lock: nothing comes in between
      return;
    }
    auto next = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    complete(std::move(next));
    lock.lock();
  }
}

/// Where the event does not say, the whole stream is waited for: a completion must not come while copies run.
expected<void> cuda_stream::wait_for(const entry& next) {
  auto over = next.event ? calls_.check(calls_->event_synchronize(next.event->handle()), "failed at queued work")
                         : expected<void>{};
  if (next.event && over)
    return over;
  const auto all_over = calls_.check(calls_->stream_synchronize(handle_), "failed at queued work");
  return over ? all_over : over;
}

void cuda_stream::complete(entry next) {
  const auto over = wait_for(next);
  next.event.reset();
  if (result_ && next.failure)
    result_ = unexpected(std::move(*next.failure));
  if (result_)
    result_ = over;
  if (next.completion)
    next.completion(result_);
  if (next.is_last_to_know)
    result_ = {};
}

/// What fails here failed earlier, or nobody is left to be told.
void cuda_stream::end() {
  calls_->stream_synchronize(handle_);
  calls_->stream_destroy(handle_);
  const std::lock_guard guard{mutex_};
  ended_ = true;
  is_over_ = true;
}

}  // namespace longshore
