#pragma once
/// A part of somebody's host memory, page-locked for a device as long as this lives.
///
/// Owns the registration, and shares the memory and the leave to lock it, which both end after it, the leave first.
/// So memory is unpinned once no copy uses it: copies share this too. Immutable, any thread.
/// Failure: as the device has it.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "cache/error.hpp"
#include "gpu/device.hpp"

namespace longshore {

class pinned_range {
public:
  /// Pages that were touched before are locked fast. `address` and `bytes`: whole pages.
  static expected<std::shared_ptr<const pinned_range>> make(std::shared_ptr<device> target, std::byte* address,
                                                            uint64_t bytes, std::shared_ptr<const void> memory,
                                                            std::shared_ptr<const void> leave);
  ~pinned_range();
  pinned_range(const pinned_range&) = delete;
  pinned_range& operator=(const pinned_range&) = delete;

private:
  pinned_range(std::shared_ptr<device> target, std::byte* address, std::shared_ptr<const void> memory,
               std::shared_ptr<const void> leave);

  std::shared_ptr<device> target_;
  std::byte* address_;
  std::shared_ptr<const void> memory_;
  std::shared_ptr<const void> leave_;
};

}  // namespace longshore
