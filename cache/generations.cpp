#include "cache/generations.hpp"

namespace longshore {

uint64_t generations::put(std::string_view key) {
  if (auto found = tombstones_.find(key); found != tombstones_.end()) {
    by_age_.erase(found->second);
    tombstones_.erase(found);
  }
  return fresh();
}

void generations::gone(const std::string& key) {
  const auto number = put(key);
  tombstones_.emplace(key, number);
  by_age_.emplace(number, key);
  if (tombstones_.size() <= max_tombstones_)
    return;
  auto oldest = by_age_.begin();
  floor_ = oldest->first;
  tombstones_.erase(oldest->second);
  by_age_.erase(oldest);
}

uint64_t generations::of_absent(std::string_view key) const {
  auto found = tombstones_.find(key);
  return found == tombstones_.end() ? floor_ : found->second;
}

}  // namespace longshore
