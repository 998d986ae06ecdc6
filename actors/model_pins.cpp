#include "actors/model_pins.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace longshore {

model_pins::model_pins(uint64_t arena_bytes, uint64_t segment_bytes)
    : arena_bytes_(arena_bytes),
      segment_bytes_(segment_bytes),
      segments_((arena_bytes + segment_bytes - 1) / segment_bytes) {}

uint64_t model_pins::length_bytes(size_t segment) const {
  return std::min(segment_bytes_, arena_bytes_ - offset_bytes(segment));
}

void model_pins::ask(size_t segment) {
  assert(is_open(segment));
  segments_[segment].state = progress::asked;
  ++asking_;
}

void model_pins::pinned(size_t segment, std::shared_ptr<const pinned_range> range) {
  assert(segments_[segment].state == progress::asked);
  segments_[segment] = {progress::pinned, std::move(range)};
  --asking_;
}

void model_pins::refused(size_t segment) {
  assert(segments_[segment].state == progress::asked);
  segments_[segment].state = progress::refused;
  --asking_;
  for (auto& other : segments_)
    if (other.state == progress::open)
      other.state = progress::refused;
}

bool model_pins::is_decided(uint64_t offset_bytes, uint64_t length_bytes) const {
  const auto end = std::min<size_t>(segments(), (offset_bytes + length_bytes + segment_bytes_ - 1) / segment_bytes_);
  for (auto i = offset_bytes / segment_bytes_; i < end; ++i)
    if (segments_[i].state == progress::open || segments_[i].state == progress::asked)
      return false;
  return true;
}

std::shared_ptr<const pinned_range> model_pins::lock_of(uint64_t offset_bytes, uint64_t length_bytes) const {
  const auto first = offset_bytes / segment_bytes_;
  const bool is_inside = (offset_bytes + length_bytes - 1) / segment_bytes_ == first;
  return is_inside && first < segments() ? segments_[first].range : nullptr;
}

uint64_t model_pins::release(uint64_t bytes) {
  uint64_t released = 0;
  for (auto i = segments(); i-- > 0 && released < bytes;)
    if (segments_[i].state == progress::pinned) {
      segments_[i] = {progress::refused, nullptr};
      released += length_bytes(i);
    }
  return released;
}

std::vector<size_t> model_pins::prefer(const std::vector<bool>& wanted) {
  const auto is_wanted = [&](size_t i) { return i < wanted.size() && wanted[i]; };
  std::vector<size_t> to_ask, to_spare;
  for (size_t i = 0; i < segments(); ++i)
    if (segments_[i].state == (is_wanted(i) ? progress::refused : progress::pinned))
      (is_wanted(i) ? to_ask : to_spare).push_back(i);
  to_ask.resize(std::min(to_ask.size(), to_spare.size()));
  for (size_t i = 0; i < to_ask.size(); ++i) {
    segments_[to_spare[i]] = {progress::refused, nullptr};
    segments_[to_ask[i]].state = progress::open;
  }
  return to_ask;
}

uint64_t model_pins::pinned_bytes() const {
  uint64_t sum = 0;
  for (size_t i = 0; i < segments(); ++i)
    sum += segments_[i].state == progress::pinned ? length_bytes(i) : 0;
  return sum;
}

}  // namespace longshore
