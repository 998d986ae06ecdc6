#include "gpu/pinned_range.hpp"

#include <tuple>
#include <utility>

namespace longshore {

pinned_range::pinned_range(std::shared_ptr<device> target, std::byte* address, std::shared_ptr<const void> memory,
                           std::shared_ptr<const void> leave)
    : target_(std::move(target)), address_(address), memory_(std::move(memory)), leave_(std::move(leave)) {}

expected<std::shared_ptr<const pinned_range>> pinned_range::make(std::shared_ptr<device> target, std::byte* address,
                                                                 uint64_t bytes, std::shared_ptr<const void> memory,
                                                                 std::shared_ptr<const void> leave) {
  if (auto locked = target->register_host(address, bytes); !locked)
    return unexpected(locked.error());
  return std::shared_ptr<const pinned_range>(
      new pinned_range(std::move(target), address, std::move(memory), std::move(leave)));
}

pinned_range::~pinned_range() { std::ignore = target_->unregister_host(address_); }

}  // namespace longshore
