#pragma once
/// Whose turn it is: work of many loads, one piece at a time from each, those that someone waits for first.
///
/// Owns the queued items. Pure: no clock, thread or I/O. Order: urgent loads in rotation, then the others in rotation;
/// within a load, first in, first out. Limit: none of its own; the sender's credits bound each load's share.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

namespace longshore {

template <class Item>
class fair_queue {
public:
  using load_number = uint64_t;

  void push(load_number load, bool urgent, Item item) {
    auto found = find(load);
    if (found == loads_.end())
      found = loads_.insert(loads_.end(), {load, urgent, {}});
    found->urgent = found->urgent || urgent;
    found->items.push_back(std::move(item));
    ++size_;
  }

  /// The next item, or nothing. The load that gave it goes to the end of the rotation.
  std::optional<Item> pop() {
    auto next = std::find_if(loads_.begin(), loads_.end(), [](const share& s) { return s.urgent; });
    if (next == loads_.end())
      next = loads_.begin();
    if (next == loads_.end())
      return std::nullopt;
    auto item = std::move(next->items.front());
    next->items.pop_front();
    --size_;
    if (next->items.empty())
      loads_.erase(next);
    else
      std::rotate(next, next + 1, loads_.end());
    return item;
  }

  /// From now on the load goes before prefetches. What it pushes later says so itself.
  void make_urgent(load_number load) {
    if (auto found = find(load); found != loads_.end())
      found->urgent = true;
  }

  /// Takes all of a load's items out of the queue, in order.
  std::vector<Item> cancel(load_number load) {
    std::vector<Item> items;
    if (auto found = find(load); found != loads_.end()) {
      items.assign(std::make_move_iterator(found->items.begin()), std::make_move_iterator(found->items.end()));
      loads_.erase(found);
      size_ -= items.size();
    }
    return items;
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

private:
  struct share {
    load_number load;
    bool urgent;
    std::deque<Item> items;  // never empty while it is in the rotation
  };

  typename std::vector<share>::iterator find(load_number load) {
    return std::find_if(loads_.begin(), loads_.end(), [&](const share& s) { return s.load == load; });
  }

  std::vector<share> loads_;  // in order of their turns
  size_t size_ = 0;
};

}  // namespace longshore
