#include "cache/byte_ledger.hpp"

#include <algorithm>
#include <cassert>

namespace longshore {

void byte_ledger::enqueue(uint64_t file, uint64_t bytes) {
  assert(bytes > 0 && bytes <= limit_bytes_ && wanted_bytes(file) == 0);
  queue_.push_back({file, bytes});
}

bool byte_ledger::next_fits() const { return !queue_.empty() && queue_.front().bytes <= limit_bytes_ - used_bytes_; }

uint64_t byte_ledger::shortfall_bytes() const {
  if (queue_.empty())
    return 0;
  const auto free_soon_bytes = limit_bytes_ - used_bytes_ + leaving_bytes_;
  const auto wanted = queue_.front().bytes;
  return wanted > free_soon_bytes ? wanted - free_soon_bytes : 0;
}

byte_ledger::reservation byte_ledger::grant_next() {
  assert(next_fits());
  const auto granted = queue_.front();
  queue_.pop_front();
  held_.emplace(granted.file, holding{granted.bytes, false});
  used_bytes_ += granted.bytes;
  assert(used_bytes_ <= limit_bytes_);
  return granted;
}

void byte_ledger::start_leaving(uint64_t file) {
  leave_queue(file);
  auto found = held_.find(file);
  if (found == held_.end() || found->second.leaving)
    return;
  found->second.leaving = true;
  leaving_bytes_ += found->second.bytes;
}

void byte_ledger::release(uint64_t file) {
  leave_queue(file);
  auto found = held_.find(file);
  if (found == held_.end())
    return;
  const auto [bytes, leaving] = found->second;
  assert(used_bytes_ >= bytes);
  used_bytes_ -= bytes;
  if (leaving)
    leaving_bytes_ -= bytes;
  held_.erase(found);
}

uint64_t byte_ledger::wanted_bytes(uint64_t file) const {
  auto waiting = std::find_if(queue_.begin(), queue_.end(), [=](const reservation& r) { return r.file == file; });
  return waiting != queue_.end() ? waiting->bytes : held_bytes(file);
}

uint64_t byte_ledger::held_bytes(uint64_t file) const {
  auto found = held_.find(file);
  return found == held_.end() ? 0 : found->second.bytes;
}

void byte_ledger::leave_queue(uint64_t file) {
  std::erase_if(queue_, [=](const reservation& r) { return r.file == file; });
}

}  // namespace longshore
