#pragma once
/// CUDA without a GPU, for tests: a table of functions over ordinary memory and queues, which checks, delays and fails.
///
/// Owns the device's memory, streams and events. Queued work runs on a thread of its own, in the order of each stream,
/// the streams in turn; `hold` stops that before the next piece of work, `release` lets it go on.
/// Complains (`complaints`) of what CUDA would punish late or never: a copy from or to host memory that was never
/// registered, a source that changed between the call and the copy, memory freed or unregistered while queued work uses
/// it, a handle used after it was destroyed, a call that needs a device on a thread that has another one.
/// Fails on demand: the n-th call of a name (the call has done nothing, but a destroying or freeing one has: there CUDA
/// reports what failed earlier), or the n-th piece of work, after which, as with CUDA, everything fails.
/// Limits: one at a time, since functions of a table have no object. Thread rule: all of it from any thread.

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "gpu/cuda_table.hpp"

namespace longshore {

class cuda_double {
public:
  struct options {
    int devices = 1;
    int used_device = 0;  ///< all calls must be for this one
    uint64_t capacity_bytes = 64 << 20;
  };

  static constexpr int failure_on_demand = 999;  // cudaErrorUnknown
  static constexpr int broken_work = 700;        // cudaErrorIllegalAddress

  cuda_double() : cuda_double(options{}) {}
  explicit cuda_double(options chosen);
  ~cuda_double();
  cuda_double(const cuda_double&) = delete;
  cuda_double& operator=(const cuda_double&) = delete;

  const cuda_table& table() const;

  void hold();
  void release();
  void finish();          ///< releases, and waits until all that is queued has run
  size_t queued() const;  ///< pieces of work that have not run

  /// The names of all calls that can fail, as they stand in the table.
  static std::vector<std::string> names();
  void fail_call(std::string name, uint64_t number, int code = failure_on_demand);
  void fail_work(uint64_t number);
  bool has_failed() const;  ///< what was to fail did
  uint64_t calls_of(const std::string& name) const;

  struct counts {
    size_t allocations, streams, events, registrations;
    friend bool operator==(const counts&, const counts&) = default;
  };
  counts alive() const;
  std::vector<std::string> complaints() const;

private:
  friend struct cuda_double_calls;

  struct range {
    const void* begin;
    uint64_t bytes;
  };
  struct event {
    uint64_t recorded = 0;
    uint64_t reached = 0;
    bool is_over() const { return reached >= recorded; }
  };
  struct work {
    std::function<int()> run;
    std::vector<range> device, host;       // what it uses
    std::shared_ptr<event> awaited{};      // waits until this has
    uint64_t awaited_count = 0;            // been reached so often
    std::optional<uint64_t> source_sum{};  // of the host memory that it reads, when it was queued
  };
  struct stream {
    std::deque<work> queue;
  };

  void run();
  size_t count_queued() const;
  stream* runnable();
  void run_front(stream& of);
  void complain(std::string_view what) { complaints_.emplace_back(what); }
  bool holds(const std::map<uintptr_t, uint64_t>& ranges, range r) const;
  bool in_use(range r, bool on_host) const;
  static bool overlap(uintptr_t a, uint64_t a_bytes, uintptr_t b, uint64_t b_bytes);

  inline static cuda_double* the_one_ = nullptr;

  const options options_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uintptr_t, uint64_t> allocations_, registrations_;
  std::map<void*, std::unique_ptr<stream>> streams_;
  std::vector<std::unique_ptr<stream>> leaving_;  // destroyed, with work left
  std::map<void*, std::shared_ptr<event>> events_;
  std::map<std::thread::id, int> current_;
  std::map<std::string, uint64_t> calls_;
  std::vector<std::string> complaints_;
  std::string fail_name_;
  uint64_t fail_number_ = 0;
  int fail_code_ = 0;
  std::optional<uint64_t> fail_work_;
  uint64_t works_ = 0, turn_ = 0;
  bool has_failed_ = false, held_ = false, stopping_ = false;
  int broken_ = 0;
  uintptr_t last_handle_ = 0;
  std::thread thread_;
};

}  // namespace longshore
