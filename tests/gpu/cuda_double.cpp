#include "tests/gpu/cuda_double.hpp"

#include <cstdlib>
#include <iterator>
#include <stdexcept>
#include <string_view>

#include "gpu/checksum.hpp"

namespace longshore {
namespace {

uintptr_t number(const void* address) { return reinterpret_cast<uintptr_t>(address); }

}  // namespace

std::vector<std::string> cuda_double::names() {
  constexpr std::string_view all[] = {"get_device_count",
                                      "set_device",
                                      "mem_get_info",
                                      "malloc",
                                      "free",
                                      "host_register",
                                      "host_unregister",
                                      "stream_create_with_flags",
                                      "stream_destroy",
                                      "stream_synchronize",
                                      "stream_wait_event",
                                      "memcpy_async",
                                      "event_create_with_flags",
                                      "event_record",
                                      "event_query",
                                      "event_synchronize",
                                      "event_destroy",
                                      "scatter",
                                      "cast",
                                      "checksum_words"};
  return {std::begin(all), std::end(all)};
}

cuda_double::cuda_double(options chosen) : options_(chosen) {
  if (the_one_ != nullptr)
    throw std::logic_error("one double at a time");
  the_one_ = this;
  thread_ = std::thread([this] { run(); });
}

cuda_double::~cuda_double() {
  {
    const std::lock_guard guard{mutex_};
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
  for (const auto& [address, bytes] : allocations_)
    std::free(reinterpret_cast<void*>(address));
  the_one_ = nullptr;
}

void cuda_double::run() {
  std::unique_lock lock{mutex_};
  while (true) {
    stream* next = nullptr;
    changed_.wait(lock, [&] { return stopping_ || (!held_ && (next = runnable()) != nullptr); });
    if (stopping_)
      return;
    run_front(*next);
    changed_.notify_all();
  }
}

/// The next stream in turn whose first piece of work waits for no event.
cuda_double::stream* cuda_double::runnable() {
  std::vector<stream*> ready;
  const auto add = [&](stream& s) {
    if (!s.queue.empty() &&
        (!s.queue.front().awaited || s.queue.front().awaited->reached >= s.queue.front().awaited_count))
      ready.push_back(&s);
  };
  for (const auto& [handle, s] : streams_)
    add(*s);
  for (const auto& s : leaving_)
    add(*s);
  return ready.empty() || broken_ != 0 ? nullptr : ready[turn_++ % ready.size()];
}

void cuda_double::run_front(stream& of) {
  const auto next = std::move(of.queue.front());
  of.queue.pop_front();
  if (next.source_sum &&
      *next.source_sum != checksum({static_cast<const std::byte*>(next.host.front().begin), next.host.front().bytes}))
    complain("a source changed before its copy ran");
  const bool demanded = fail_work_ == works_++;
  has_failed_ = has_failed_ || demanded;
  broken_ = demanded ? broken_work : next.run();
  std::erase_if(leaving_, [](const auto& left) { return left->queue.empty(); });
  if (broken_ == 0)
    return;
  for (const auto& [handle, s] : streams_)
    s->queue.clear();
  leaving_.clear();
}

bool cuda_double::holds(const std::map<uintptr_t, uint64_t>& ranges, range r) const {
  auto above = ranges.upper_bound(number(r.begin));
  if (above == ranges.begin())
    return false;
  --above;
  return number(r.begin) - above->first + r.bytes <= above->second;
}

bool cuda_double::overlap(uintptr_t a, uint64_t a_bytes, uintptr_t b, uint64_t b_bytes) {
  return a < b + b_bytes && b < a + a_bytes;
}

bool cuda_double::in_use(range r, bool on_host) const {
  const auto uses = [&](const stream& s) {
    for (const auto& w : s.queue)
      for (const auto& used : on_host ? w.host : w.device)
        if (overlap(number(used.begin), used.bytes, number(r.begin), r.bytes))
          return true;
    return false;
  };
  for (const auto& [handle, s] : streams_)
    if (uses(*s))
      return true;
  for (const auto& s : leaving_)
    if (uses(*s))
      return true;
  return false;
}

void cuda_double::hold() {
  const std::lock_guard guard{mutex_};
  held_ = true;
}

void cuda_double::release() {
  const std::lock_guard guard{mutex_};
  held_ = false;
  changed_.notify_all();
}

void cuda_double::finish() {
  release();
  std::unique_lock lock{mutex_};
  changed_.wait(lock, [this] { return count_queued() == 0; });
}

size_t cuda_double::queued() const {
  const std::lock_guard guard{mutex_};
  return count_queued();
}

size_t cuda_double::count_queued() const {
  size_t sum = 0;
  for (const auto& [handle, s] : streams_)
    sum += s->queue.size();
  for (const auto& s : leaving_)
    sum += s->queue.size();
  return sum;
}

void cuda_double::fail_call(std::string name, uint64_t n, int code) {
  const std::lock_guard guard{mutex_};
  fail_name_ = std::move(name);
  fail_number_ = n;
  fail_code_ = code;
}

void cuda_double::fail_work(uint64_t n) {
  const std::lock_guard guard{mutex_};
  fail_work_ = n;
}

bool cuda_double::has_failed() const {
  const std::lock_guard guard{mutex_};
  return has_failed_;
}

uint64_t cuda_double::calls_of(const std::string& name) const {
  const std::lock_guard guard{mutex_};
  const auto found = calls_.find(name);
  return found == calls_.end() ? 0 : found->second;
}

cuda_double::counts cuda_double::alive() const {
  const std::lock_guard guard{mutex_};
  return {allocations_.size(), streams_.size(), events_.size(), registrations_.size()};
}

std::vector<std::string> cuda_double::complaints() const {
  const std::lock_guard guard{mutex_};
  return complaints_;
}

}  // namespace longshore
