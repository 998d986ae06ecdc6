#include "gpu/device_blocks.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace longshore {
namespace {

/// What the device cannot tell of is still in use.
bool is_over(const taken_block& block) {
  return std::all_of(block.after.begin(), block.after.end(),
                     [](const auto& event) { return event->is_over().value_or(false); });
}

}  // namespace

expected<taken_block> device_blocks::take(uint64_t bytes) {
  bytes = rounded(std::max<uint64_t>(bytes, 1));
  collect();
  if (auto found = idle_.extract(bytes)) {
    idle_bytes_ -= bytes;
    return std::move(found.mapped());
  }
  if (bytes_ + bytes > limit_bytes_)
    free_idle(bytes_ + bytes - std::min(limit_bytes_, bytes_ + bytes));
  if (bytes_ + bytes > limit_bytes_)
    return unexpected(error{.code = errc::out_of_budget,
                            .what = std::to_string(bytes) + " bytes for layers do not fit beside " +
                                    std::to_string(bytes_) + " of a budget of " + std::to_string(limit_bytes_)});
  auto address = target_->allocate(bytes);
  if (!address && address.error().code == errc::out_of_budget && free_idle(bytes) > 0)
    address = target_->allocate(bytes);
  if (!address)
    return tl::unexpected(address.error());
  bytes_ += bytes;
  return taken_block{.block = std::make_shared<const device_block>(target_, *address, bytes)};
}

void device_blocks::give_back(taken_block given) {
  if (!given.block)
    return;
  if (given.block.use_count() > 1)
    kept_.push_back(std::move(given));
  else
    make_idle(std::move(given));
}

void device_blocks::retire(taken_block done) {
  if (done.block && done.block.use_count() > 1)
    bytes_ -= done.block->bytes();
  else
    give_back(std::move(done));
}

void device_blocks::used_until(const std::shared_ptr<const device_block>& block,
                               std::shared_ptr<const device_event> last_use) {
  const auto kept = std::find_if(kept_.begin(), kept_.end(), [&](const auto& one) { return one.block == block; });
  if (kept != kept_.end())
    kept->after.push_back(std::move(last_use));
}

void device_blocks::make_idle(taken_block block) {
  const auto bytes = block.block->bytes();
  idle_bytes_ += bytes;
  idle_.emplace(bytes, std::move(block));
}

/// What nobody else points to any more.
void device_blocks::collect() {
  const auto free =
      std::partition(kept_.begin(), kept_.end(), [](const auto& one) { return one.block.use_count() > 1; });
  std::for_each(free, kept_.end(), [this](auto& one) { make_idle(std::move(one)); });
  kept_.erase(free, kept_.end());
}

uint64_t device_blocks::kept_bytes() {
  collect();
  uint64_t sum = 0;
  for (const auto& one : kept_)
    sum += one.block->bytes();
  return sum;
}

void device_blocks::set_limit(uint64_t limit_bytes) {
  limit_bytes_ = limit_bytes;
  if (bytes_ > limit_bytes_)
    free_idle(bytes_ - limit_bytes_);
}

std::vector<std::shared_ptr<const device_event>> device_blocks::next_to_be_over() const {
  return idle_.empty() ? std::vector<std::shared_ptr<const device_event>>{} : idle_.begin()->second.after;
}

uint64_t device_blocks::free_idle(uint64_t bytes) {
  collect();
  uint64_t freed = 0;
  for (auto it = idle_.begin(); it != idle_.end() && freed < bytes;) {
    const bool can_go = is_over(it->second);
    freed += can_go ? it->first : 0;
    it = can_go ? idle_.erase(it) : std::next(it);
  }
  bytes_ -= freed;
  idle_bytes_ -= freed;
  return freed;
}

}  // namespace longshore
