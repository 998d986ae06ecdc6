#include "gpu/staging_memory.hpp"

#include <tuple>
#include <utility>

#include "io/read_engine.hpp"

namespace longshore {

expected<std::shared_ptr<const staging_memory>> staging_memory::make(arena_pool& pool, std::shared_ptr<device> target,
                                                                     uint64_t bytes, bool pin) {
  auto memory = pool.acquire(bytes);
  if (!memory)
    return unexpected(memory.error());
  std::shared_ptr<staging_memory> made{new staging_memory(std::move(*memory), std::move(target))};
  touch_pages(made->data(), made->memory_.size_bytes());  // page-locking what is there already is fast
  if (pin)
    made->pinned_ = made->target_->register_host(made->data(), made->memory_.size_bytes()).has_value();
  return made;
}

staging_memory::~staging_memory() {
  if (pinned_)
    std::ignore = target_->unregister_host(memory_.data());
}

}  // namespace longshore
