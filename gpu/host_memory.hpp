#pragma once
/// The two kinds of memory that a host device answers for: its own, and the host memory registered with it.
///
/// `host_memory` owns the device's allocations and frees what is left of them at its end. Limit: `capacity_bytes`,
/// hard, alignment counted. `host_registrations` owns nothing but the list of ranges and who copies from them. Thread
/// rule: all of it from any thread (a mutex in each). Failure: `out_of_budget` says how many bytes are short; a range
/// that overlaps another, is not whole pages, is not known or still has copies in flight is `bad_argument`.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "gpu/device.hpp"
#include "io/arena.hpp"

namespace longshore {

/// A count and the most it has been.
struct peak_bytes {
  uint64_t now = 0;
  uint64_t most = 0;

  void add(uint64_t bytes);
};

/// What is as large as a huge page stands in huge pages, and stays the device's when it is freed: a device's memory is
/// there, and so costs nothing to use again. `ready_bytes` of it are brought in at the start, for the first allocation.
class host_memory {
public:
  explicit host_memory(uint64_t capacity_bytes, uint64_t ready_bytes = 0);

  /// Nothing asked for is one unit of the alignment, so that each allocation has an address of its own.
  expected<device_address> allocate(uint64_t bytes);
  bool free(device_address address);                         ///< false: no allocation begins there
  bool holds(device_address address, uint64_t bytes) const;  ///< all of it in one allocation

  peak_bytes allocated() const;
  uint64_t capacity_bytes() const { return capacity_bytes_; }

private:
  struct deleter {
    void operator()(std::byte* data) const;
  };
  struct block {
    std::unique_ptr<std::byte, deleter> small;
    arena large;
    uint64_t size_bytes;

    std::byte* data() const { return small ? small.get() : large.data(); }
  };
  block bring(uint64_t size_bytes);

  const uint64_t capacity_bytes_;
  const std::shared_ptr<arena_pool> pool_;  // without a limit: the capacity is kept here
  mutable std::mutex mutex_;
  std::map<device_address, block> blocks_;
  peak_bytes allocated_;
};

class host_registrations {
public:
  enum class cover : uint8_t { none, part, whole };

  /// A copy's stay in the ranges it touches: while it lives they cannot be taken away.
  struct stay {
    cover covered = cover::none;
    std::shared_ptr<void> token;
  };

  expected<void> add(const std::byte* address, uint64_t bytes);
  expected<void> remove(const std::byte* address);
  stay enter(const std::byte* address, uint64_t bytes);

  peak_bytes registered() const;
  size_t ranges() const;

private:
  struct range {
    uintptr_t end;
    uint64_t copies_in_flight;
  };

  void leave(const std::vector<uintptr_t>& begins);
  std::map<uintptr_t, range>::iterator first_that_ends_behind(uintptr_t address);

  mutable std::mutex mutex_;
  std::map<uintptr_t, range> ranges_;
  peak_bytes registered_;
};

}  // namespace longshore
