#pragma once
/// The CUDA runtime for one device: its table, which device is meant, and what its codes mean as errors.
///
/// Owns nothing but its name; the table must outlive it. A call of CUDA concerns the device that is current on the
/// calling thread: `select` before any that allocates, makes, launches or records. It stays current afterwards, since
/// going back to another device would give that one a context, and memory for it, that nobody asked for.
/// Thread rule: all of it from any thread.
/// Failure: `out_of_budget` where CUDA has no memory, `bad_argument` where host memory is registered already or was
/// not, `unsupported` where the device or driver cannot do it, else `io_failed`; with the driver's own words.

#include <string>
#include <utility>

#include "cache/error.hpp"
#include "gpu/cuda_table.hpp"

namespace longshore {

class cuda_calls {
public:
  cuda_calls(const cuda_table& table, int index)
      : table_(&table), index_(index), name_("cuda:" + std::to_string(index)) {}

  const cuda_table* operator->() const { return table_; }
  const std::string& name() const { return name_; }

  expected<void> select() const { return check(table_->set_device(index_), "cannot be used"); }

  /// Nothing for success; else the error, of which `what` says what could not be done.
  expected<void> check(int code, const std::string& what) const;

private:
  const cuda_table* table_;
  int index_;
  std::string name_;
};

/// An event of the runtime, destroyed with its last owner. CUDA allows that while streams still wait for it.
class cuda_event {
public:
  static expected<cuda_event> make(const cuda_calls& calls, unsigned flags);

  cuda_event(cuda_event&& other) noexcept : calls_(other.calls_), handle_(std::exchange(other.handle_, nullptr)) {}
  cuda_event& operator=(cuda_event&& other) noexcept {
    std::swap(calls_, other.calls_);
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~cuda_event();

  cuda_event_handle handle() const { return handle_; }

private:
  cuda_event(const cuda_calls& calls, cuda_event_handle handle) : calls_(&calls), handle_(handle) {}

  const cuda_calls* calls_;
  cuda_event_handle handle_;
};

}  // namespace longshore
