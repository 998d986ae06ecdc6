#pragma once
/// A runtime in virtual time: the real actors on CAF's test coordinator, a simulated disk and a simulated device.
///
/// Owns all of them. One thread: whoever calls `step` handles every message, and time passes only when nothing else is
/// left to do; then it jumps to the next thing that happens: a read that completes, a copy that is over, a deadline, an
/// action of the caller's. The same calls give the same history, however fast the real machine is.
/// An actor that does blocking work (page-locking memory) handles nothing meanwhile, and those that it woke wait for it
/// too. Nothing of the caller's is called once this ends. Failure: as `spawn_simulated_actors`.

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "app/simulate/scenario.hpp"
#include "app/simulate/simulated_time.hpp"
#include "messages/cache.hpp"
#include "messages/load.hpp"

namespace longshore {

/// Host memory in use, the part of it that stages, what of it is page-locked, and device memory.
struct simulated_memory {
  uint64_t host_bytes = 0;
  uint64_t staging_bytes = 0;
  uint64_t pinned_bytes = 0;
  uint64_t device_bytes = 0;

  friend bool operator==(const simulated_memory&, const simulated_memory&) = default;
};

class virtual_runtime {
public:
  static expected<std::unique_ptr<virtual_runtime>> start(const simulated_machine& machine,
                                                          std::function<void(const load_progress&)> on_progress);
  ~virtual_runtime();
  virtual_runtime(const virtual_runtime&) = delete;
  virtual_runtime& operator=(const virtual_runtime&) = delete;

  std::chrono::nanoseconds now() const;  ///< since the start

  /// Asks the registry; the answer comes out of a later `step`, or never when this ends before.
  void get(const get_model& request, std::function<void(const model_answer&)> then);

  /// Has something done at a time, by `step`.
  void at(std::chrono::nanoseconds when, std::function<void()> todo);

  /// Lets the next thing happen. False when nothing ever will.
  bool step();

  simulated_memory memory() const;
  uint64_t read_bytes() const;
  uint64_t copied_bytes() const;

  /// What disk and link did so far, in order.
  const std::vector<simulated_turn>& disk_turns() const;
  const std::vector<simulated_turn>& link_turns() const;
  std::chrono::nanoseconds since_start(host_time at) const;

private:
  struct parts;
  explicit virtual_runtime(std::unique_ptr<parts> p);
  std::unique_ptr<parts> parts_;
};

}  // namespace longshore
