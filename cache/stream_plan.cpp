#include "cache/stream_plan.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace longshore {
namespace {

constexpr size_t tried_units = 16;    // beside the farthest ones, of which a choice may be made
constexpr size_t tried_victims = 16;  // of more than so many, each is too small for the choice to matter

uint64_t sum_of(std::span<const unit_id> units, const std::vector<uint64_t>& unit_bytes) {
  uint64_t sum = 0;
  for (auto u : units)
    sum += unit_bytes[u];
  return sum;
}

}  // namespace

void spare_what_fits(std::vector<unit_id>& victims, uint64_t enough_bytes, const std::vector<uint64_t>& unit_bytes) {
  auto sum = sum_of(victims, unit_bytes);
  std::stable_sort(victims.begin(), victims.end(), [&](unit_id a, unit_id b) { return unit_bytes[a] > unit_bytes[b]; });
  std::erase_if(victims, [&](unit_id u) {
    const bool stays = sum - unit_bytes[u] >= enough_bytes;
    sum -= stays ? unit_bytes[u] : 0;
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

void stream_plan::restart(uint64_t step, uint64_t room_bytes, const std::vector<unit_id>& held,
                          const std::vector<double>& weights) {
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
  spread(weights);
}

/// In the order of the cycle, the bytes of the chosen units keep up with their share of the time.
void stream_plan::spread(const std::vector<double>& weights) {
  goes_first_.assign(next_use_.size(), 0);
  spread_until_ = step_ + order_.size();
  if (weights.empty())
    return;
  std::vector<char> is_used(next_use_.size(), 0);
  double weight = 0, used_bytes = 0;
  for (size_t at = 0; at < order_.size(); ++at) {
    weight += weights[at];
    for (auto u : shape_.layers[order_[at]])
      used_bytes += std::exchange(is_used[u], 1) ? 0 : static_cast<double>(shape_.unit_bytes[u]);
  }
  const auto absent_bytes = used_bytes - static_cast<double>(room_bytes_);
  if (absent_bytes <= 0 || weight <= 0)
    return;
  double due_bytes = 0;
  for (size_t at = 0; at < order_.size(); ++at) {
    due_bytes += absent_bytes * weights[at] / weight;
    for (auto u : shape_.layers[order_[at]])
      if (const auto bytes = static_cast<double>(shape_.unit_bytes[u]);
          std::exchange(is_used[u], 0) && due_bytes >= bytes / 2) {
        goes_first_[u] = 1;
        due_bytes -= bytes;
      }
  }
}

void stream_plan::advance(std::vector<unit_id>& wanted, std::vector<unit_id>& let_go) {
  const auto& units = units_at(step_);
  for (auto u : units)
    if (holds(u) && next_use_[u] != step_) {  // it was to go first, and did not have to
      drop(u);
      hold(u, step_);
    }
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
    const bool goes_first = step_ < spread_until_ && goes_first_[u];
    hold(u, step_ + distances_[first_distance_[place(step_)] + i] + (goes_first ? order_.size() : 0));
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
  const auto enough_bytes = held_bytes_ + bytes - room_bytes_;
  auto victims = farthest(enough_bytes, 0);
  if (sum_of(victims, shape_.unit_bytes) < enough_bytes)
    return false;
  const bool is_choice = std::isfinite(distance_exponent_) && victims.size() <= tried_victims;
  const auto all = is_choice ? farthest(enough_bytes, tried_units) : std::vector<unit_id>{};
  spare_what_fits(victims, enough_bytes, shape_.unit_bytes);
  if (is_choice)
    try_others(victims, all, enough_bytes);
  for (auto u : victims)
    drop(u);
  let_go.insert(let_go.end(), victims.begin(), victims.end());
  return true;
}

/// As many as it takes, and so many others after them.
std::vector<unit_id> stream_plan::farthest(uint64_t enough_bytes, size_t others) const {
  std::vector<unit_id> found;
  uint64_t sum = 0;
  for (auto v = by_next_use_.rbegin(); v != by_next_use_.rend() && v->first != step_; ++v) {
    if (sum >= enough_bytes && others-- == 0)
      break;
    found.push_back(v->second);
    sum += shape_.unit_bytes[v->second];
  }
  return found;
}

/// Some of the farthest and, to make up the rest, one that is nearer: whatever loses the least.
void stream_plan::try_others(std::vector<unit_id>& victims, const std::vector<unit_id>& farthest,
                             uint64_t enough_bytes) const {
  auto least = loss(victims);
  std::vector<unit_id> first, tried;
  uint64_t sum = 0;
  for (size_t i = 0; i < farthest.size() && sum < enough_bytes; ++i) {
    for (size_t j = i; j < farthest.size(); ++j) {
      if (sum + shape_.unit_bytes[farthest[j]] < enough_bytes)
        continue;
      tried = first;
      tried.push_back(farthest[j]);
      spare_what_fits(tried, enough_bytes, shape_.unit_bytes);
      if (const auto lost = loss(tried); lost < least) {
        least = lost;
        victims = tried;
      }
    }
    first.push_back(farthest[i]);
    sum += shape_.unit_bytes[farthest[i]];
  }
}

double stream_plan::loss(const std::vector<unit_id>& victims) const {
  double sum = 0;
  for (auto u : victims)
    if (next_use_[u] != never)
      sum += static_cast<double>(shape_.unit_bytes[u]) /
             std::pow(static_cast<double>(next_use_[u] - step_), distance_exponent_);
  return sum;
}

uint64_t stream_plan::bytes_of_passes(size_t passes, uint64_t room_bytes, double distance_exponent) const {
  auto played = *this;
  played.set_distance_exponent(distance_exponent);
  played.restart(first_step_, room_bytes, {}, {});
  uint64_t bytes = 0;
  std::vector<unit_id> wanted, let_go;
  for (size_t i = 0; i < passes * order_.size(); ++i) {
    wanted.clear();
    let_go.clear();
    played.advance(wanted, let_go);
    bytes += sum_of(wanted, shape_.unit_bytes);
  }
  return bytes;
}

std::vector<uint64_t> stream_plan::next_uses(uint64_t step) const {
  std::vector<uint64_t> next(next_use_.size(), never);
  for (auto at = step; at < step + order_.size(); ++at)
    for (auto u : units_at(at))
      next[u] = std::min(next[u], at);
  return next;
}

}  // namespace longshore
