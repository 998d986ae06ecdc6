#pragma once
/// One slot's worth of staging memory, page-locked for a device or not.
///
/// Owns an arena and its registration, and ends the one before the other. Immutable, any thread. Failure: of the arena
/// alone. A device that refuses to page-lock leaves ordinary memory, which copies take at a lower rate.

#include <memory>

#include "gpu/device.hpp"
#include "io/arena.hpp"

namespace longshore {

class staging_memory {
public:
  static expected<std::shared_ptr<const staging_memory>> make(arena_pool& pool, std::shared_ptr<device> target,
                                                              uint64_t bytes, bool pin);
  ~staging_memory();
  staging_memory(const staging_memory&) = delete;
  staging_memory& operator=(const staging_memory&) = delete;

  std::byte* data() const { return memory_.data(); }
  bool is_pinned() const { return pinned_; }

private:
  staging_memory(arena memory, std::shared_ptr<device> target)
      : memory_(std::move(memory)), target_(std::move(target)) {}

  arena memory_;
  std::shared_ptr<device> target_;
  bool pinned_ = false;
};

}  // namespace longshore
