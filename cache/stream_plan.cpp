#include "cache/stream_plan.hpp"

#include <algorithm>

namespace longshore {

void spare_what_fits(std::vector<unit_id>& victims, uint64_t sum_bytes, uint64_t enough_bytes,
                     const std::vector<uint64_t>& unit_bytes) {
  std::stable_sort(victims.begin(), victims.end(), [&](unit_id a, unit_id b) { return unit_bytes[a] > unit_bytes[b]; });
  std::erase_if(victims, [&](unit_id u) {
    const bool stays = sum_bytes - unit_bytes[u] >= enough_bytes;
    sum_bytes -= stays ? unit_bytes[u] : 0;
    return stays;
  });
}

stream_plan::stream_plan(stream_shape shape)
    : shape_(std::move(shape)),
      next_use_(shape_.unit_bytes.size(), absent),
      free_from_(shape_.unit_bytes.size(), 0),
      barred_(shape_.unit_bytes.size(), 0) {}

void stream_plan::set_order(const std::vector<layer_id>& order, uint64_t first_step) {
  order_ = order;
  first_step_ = first_step;
  first_distance_.clear();
  size_t count = 0;
  for (auto layer : order_) {
    first_distance_.push_back(count);
    count += shape_.layers[layer].size();
  }
  distances_.assign(count, 0);
  // Backwards over two cycles: at each place of the first one, the next use of its units is known by then.
  std::vector<uint64_t> next(next_use_.size(), never);
  for (size_t at = 2 * order_.size(); at-- > 0;) {
    const auto& units = shape_.layers[order_[at % order_.size()]];
    for (size_t i = 0; i < units.size(); ++i) {
      if (at < order_.size())
        distances_[first_distance_[at] + i] = next[units[i]] - at;
      next[units[i]] = at;
    }
  }
}

void stream_plan::restart(uint64_t step, uint64_t room_bytes, const std::vector<unit_id>& held) {
  step_ = step;
  room_bytes_ = room_bytes;
  held_bytes_ = 0;
  by_next_use_.clear();
  std::fill(next_use_.begin(), next_use_.end(), absent);
  std::fill(free_from_.begin(), free_from_.end(), 0);
  const auto next = next_uses(step);
  for (auto u : held)
    hold(u, next[u]);
  std::vector<unit_id> too_much;
  make_room(0, too_much);
}

void stream_plan::advance(std::vector<unit_id>& wanted, std::vector<unit_id>& let_go) {
  const auto& units = units_at(step_);
  const auto missing = missing_bytes(units);
  if (missing > 0 && make_room(missing, let_go))
    for (auto u : units)
      if (!holds(u) && !barred_[u]) {
        hold(u, step_);
        wanted.push_back(u);
      }
  pass_step();
}

void stream_plan::skip_to(uint64_t step) {
  while (step_ < step)
    pass_step();
}

/// What is held of this step's layer is next used later.
void stream_plan::pass_step() {
  const auto& units = units_at(step_);
  for (size_t i = 0; i < units.size(); ++i) {
    const auto u = units[i];
    free_from_[u] = step_ + 1;
    if (!holds(u))
      continue;
    drop(u);
    hold(u, step_ + distances_[first_distance_[place(step_)] + i]);
  }
  ++step_;
}

void stream_plan::hold(unit_id unit, uint64_t next_use) {
  next_use_[unit] = next_use;
  by_next_use_.emplace(next_use, unit);
  held_bytes_ += shape_.unit_bytes[unit];
}

void stream_plan::drop(unit_id unit) {
  if (!holds(unit))
    return;
  by_next_use_.erase({next_use_[unit], unit});
  next_use_[unit] = absent;
  held_bytes_ -= shape_.unit_bytes[unit];
}

uint64_t stream_plan::missing_bytes(std::span<const unit_id> units) const {
  uint64_t sum = 0;
  for (auto u : units)
    sum += holds(u) || barred_[u] ? 0 : shape_.unit_bytes[u];
  return sum;
}

/// So many bytes beside what is held; what this step itself uses stays.
bool stream_plan::make_room(uint64_t bytes, std::vector<unit_id>& let_go) {
  if (held_bytes_ + bytes <= room_bytes_)
    return true;
  const auto short_bytes = held_bytes_ + bytes - room_bytes_;
  std::vector<unit_id> victims;
  uint64_t sum = 0;
  for (auto v = by_next_use_.rbegin(); v != by_next_use_.rend() && sum < short_bytes; ++v) {
    if (v->first == step_)
      break;
    victims.push_back(v->second);
    sum += shape_.unit_bytes[v->second];
  }
  if (sum < short_bytes)
    return false;
  spare_what_fits(victims, sum, short_bytes, shape_.unit_bytes);
  for (auto u : victims)
    drop(u);
  let_go.insert(let_go.end(), victims.begin(), victims.end());
  return true;
}

std::vector<uint64_t> stream_plan::next_uses(uint64_t step) const {
  std::vector<uint64_t> next(next_use_.size(), never);
  for (auto at = step; at < step + order_.size(); ++at)
    for (auto u : units_at(at))
      next[u] = std::min(next[u], at);
  return next;
}

}  // namespace longshore
