#pragma once
/// The runtime as the Python module drives it: loads that can be given up, an end that waits for them, and a guard
/// against `fork`, after which the actors' threads are missing.
///
/// Owns the runtime until `close`. Knows nothing of Python: no call takes the interpreter's lock. Thread rule: every
/// method from any thread. Limits: the runtime's own. Failure: the runtime's errors; `stopped` once closed;
/// `unsupported` in a forked child, where nothing is freed either, since that would wait for threads that are not
/// there.

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "actors/runtime.hpp"
#include "app/python/load_board.hpp"

namespace longshore::python {

struct load_order {
  std::vector<std::string> paths{};  ///< none: whatever the key stands for
  std::string key{};                 ///< empty: the paths
  std::optional<model_kind> kind{};  ///< none: `data`, and of what is there any
  cache_mode mode = cache_mode::automatic;
  source_options how{};
  bool urgent = true;
  bool keep = false;
  bool tells = false;  ///< its answer and progress become events
  std::chrono::milliseconds deadline{};
};

class runtime_handle {
public:
  static expected<std::unique_ptr<runtime_handle>> start(runtime_options options);
  ~runtime_handle();
  runtime_handle(const runtime_handle&) = delete;
  runtime_handle& operator=(const runtime_handle&) = delete;

  /// Whether runtimes belong to the process that this one was forked from.
  static bool in_forked_child();
  static error forked();  ///< what such a process is told

  /// Looks for the files on the caller's thread, and waits for nothing else.
  expected<std::shared_ptr<pending_load>> begin(const load_order& order);

  /// Puts an object of Python's, known by its number; `dropped` is the event of its end.
  expected<std::shared_ptr<pending_load>> begin_put(put_object wanted, uint64_t number);

  /// Fails what loads, waits for it, and ends the runtime. Leases stay good. Safe to call again.
  void close();

  /// Runs `work` with the runtime.
  template <class Work>
  auto with(Work work) -> decltype(work(std::declval<runtime&>())) {
    const auto running = get();
    if (!running)
      return unexpected(running.error());
    return work(**running);
  }

  /// The runtime, for what outlives a call.
  expected<std::shared_ptr<runtime>> get();

  const std::shared_ptr<load_board>& board() const { return board_; }

private:
  runtime_handle(std::unique_ptr<runtime> started, std::shared_ptr<load_board> board);
  std::shared_ptr<pending_load> begin(runtime& running, const lease_request& request, const model_source& source,
                                      bool tells);

  std::mutex mutex_;  // of runtime_
  std::shared_ptr<runtime> runtime_;
  std::shared_ptr<load_board> board_;
  pid_t process_;
};

}  // namespace longshore::python
