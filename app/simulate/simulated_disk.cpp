#include "app/simulate/simulated_disk.hpp"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include <sys/stat.h>

namespace longshore {
namespace {

/// Bytes that a file has behind an offset, or a negative errno.
int64_t bytes_behind(int fd, uint64_t offset_bytes) {
  struct stat s = {};
  if (::fstat(fd, &s) != 0)
    return -errno;
  const auto size_bytes = static_cast<uint64_t>(s.st_size);
  return static_cast<int64_t>(size_bytes - std::min(size_bytes, offset_bytes));
}

}  // namespace

class simulated_disk::engine final : public read_engine {
public:
  explicit engine(simulated_disk& disk) : disk_(disk) {}
  ~engine() override {
    while (!disk_.in_flight_.empty())
      disk_.complete_first();
  }

  void submit(const read_request& request) override { disk_.submit(request); }
  size_t depth() const override { return engine_options{}.depth; }
  std::string_view name() const override { return "simulated"; }

private:
  simulated_disk& disk_;
};

simulated_disk::simulated_disk(uint64_t bytes_per_s, std::chrono::nanoseconds latency, simulated_clock now)
    : now_(std::move(now)), head_(bytes_per_s, latency) {}

std::unique_ptr<read_engine> simulated_disk::make_engine(completion_callback on_complete) {
  on_complete_ = std::move(on_complete);
  return std::make_unique<engine>(*this);
}

void simulated_disk::submit(const read_request& request) {
  assert(in_flight_.size() < engine_options{}.depth);
  const auto there = bytes_behind(request.fd, request.offset_bytes);
  const auto result = std::min(there, static_cast<int64_t>(request.length_bytes));
  const auto bytes = static_cast<uint64_t>(std::max<int64_t>(result, 0));
  const auto turn = head_.take(now_(), bytes);
  in_flight_.push_back({turn.end, {request.tag, result}});
  turns_.push_back({turn.begin, turn.end, bytes});
}

void simulated_disk::complete_first() {
  const auto done = in_flight_.front();
  in_flight_.pop_front();
  read_bytes_ += static_cast<uint64_t>(std::max<int64_t>(done.result.result, 0));
  on_complete_(done.result);
}

std::optional<host_time> simulated_disk::next() const {
  return in_flight_.empty() ? std::nullopt : std::optional{in_flight_.front().end};
}

void simulated_disk::run_until(host_time at) {
  while (!in_flight_.empty() && in_flight_.front().end <= at)
    complete_first();
}

}  // namespace longshore
