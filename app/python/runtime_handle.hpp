#pragma once
/// The runtime as the Python module drives it: loads that can be given up, an end that waits for them, and a guard
/// against `fork`, after which the actors' threads are missing.
///
/// Owns the runtime until `close`. A load runs on a thread of its own, so that the caller may look for signals while it
/// waits; a load that the caller gives up goes on to its end or its deadline, and its lease is returned then.
/// Knows nothing of Python: no call takes the interpreter's lock. Thread rule: every method from any thread.
/// Limits: the runtime's own. Failure: the runtime's errors; `stopped` once closed; `unsupported` in a forked child,
/// where nothing is freed either, since that would wait for threads that are not there.

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>

#include <sys/types.h>

#include "actors/runtime.hpp"

namespace longshore::python {

using shared_lease = std::shared_ptr<const model_lease>;

struct load_order {
  std::vector<std::string> paths{};
  std::string key{};  ///< empty: the paths
  hold_choice hold = hold_choice::automatic;
  std::chrono::milliseconds deadline{};
  bool alone = false;  ///< bytes that no other load will ever share, so that they may be written to
};

class runtime_handle {
public:
  static expected<std::unique_ptr<runtime_handle>> start(runtime_options options);
  ~runtime_handle();
  runtime_handle(const runtime_handle&) = delete;
  runtime_handle& operator=(const runtime_handle&) = delete;

  /// Whether runtimes belong to the process that this one was forked from.
  static bool in_forked_child();

  /// Waits for the load, and calls `go_on` every 20 ms; `cancelled` when that says no.
  expected<shared_lease> load(load_order order, const std::function<bool()>& go_on);

  /// Fails what loads, waits for it, and ends the runtime. Leases stay good. Safe to call again.
  void close();

  expected<std::string> engine_name();
  expected<uint64_t> host_limit_bytes();

private:
  explicit runtime_handle(std::unique_ptr<runtime> started);
  expected<std::shared_ptr<runtime>> get();

  /// Shared with the threads of loads, which may outlast this.
  struct loads {
    std::mutex mutex;
    std::condition_variable changed;
    size_t running = 0;
  };

  static std::shared_ptr<void> count_one(const std::shared_ptr<loads>& all);

  std::mutex mutex_;  // of runtime_
  std::shared_ptr<runtime> runtime_;
  std::shared_ptr<loads> loads_ = std::make_shared<loads>();
  pid_t process_;
};

}  // namespace longshore::python
