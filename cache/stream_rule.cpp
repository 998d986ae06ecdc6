#include "cache/stream_rule.hpp"

#include <algorithm>
#include <cassert>
#include <numeric>

namespace longshore {
namespace {

/// Each unit once in a layer.
stream_shape tidied(stream_shape shape) {
  for (auto& units : shape.layers) {
    std::sort(units.begin(), units.end());
    units.erase(std::unique(units.begin(), units.end()), units.end());
    assert(units.empty() || units.back() < shape.unit_bytes.size());
  }
  return shape;
}

}  // namespace

stream_rule::stream_rule(stream_shape shape, uint64_t capacity_bytes, stream_limits limits)
    : limits_(limits),
      plan_(tidied(std::move(shape))),
      units_(plan_.shape().unit_bytes.size()),
      layer_uses_(plan_.shape().layers.size()),
      capacity_bytes_(capacity_bytes),
      order_(plan_.shape().layers.size()) {
  for (auto bytes : plan_.shape().unit_bytes)
    model_bytes_ += bytes;
  for (layer_id l = 0; l < order_.size(); ++l)
    largest_layer_bytes_ = std::max(largest_layer_bytes_, missing_bytes(l));
  std::iota(order_.begin(), order_.end(), layer_id{0});
  chosen_ahead_bytes_ = limits_.ahead_bytes.value_or(largest_layer_bytes_);
  find_places();
}

stream_actions stream_rule::begin_pass() {
  stream_actions out;
  next_pass();
  settle(out);
  return out;
}

stream_actions stream_rule::acquire(layer_id layer) {
  assert(layer < layer_uses_.size());
  stream_actions out;
  counts_.hits += is_ready(layer) ? 1 : 0;
  ++layer_uses_[layer];
  for (auto id : units_of(layer)) {
    auto& u = units_[id];
    if (u.uses++ == 0 && u.at != place::absent)
      in_use_bytes_ += bytes_of(id);
    if (std::exchange(u.lost, false))
      plan_.allow(id, true);
    file(id);
  }
  note_use(layer);
  if (lacks(layer))
    waiting_.push_back(layer);
  settle(out);
  return out;
}

stream_actions stream_rule::release(layer_id layer) {
  assert(layer_uses_.at(layer) > 0);
  stream_actions out;
  --layer_uses_[layer];
  for (auto id : units_of(layer)) {
    auto& u = units_[id];
    --u.uses;
    if (u.at == place::absent)
      plan_.drop(id);  // which took it for fetched, as it was acquired
    else if (u.uses == 0)
      in_use_bytes_ -= bytes_of(id);
    file(id);
  }
  settle(out);
  return out;
}

stream_actions stream_rule::fetched(unit_id id) {
  assert(units_.at(id).at == place::coming);
  stream_actions out;
  units_[id].at = place::there;
  coming_bytes_ -= bytes_of(id);
  counts_.moved_bytes += bytes_of(id);
  file(id);
  settle(out);
  return out;
}

stream_actions stream_rule::lost(unit_id id) {
  assert(units_.at(id).at == place::coming);
  stream_actions out;
  auto& u = units_[id];
  u.at = place::absent;
  u.lost = true;
  taken_bytes_ -= bytes_of(id);
  coming_bytes_ -= bytes_of(id);
  in_use_bytes_ -= u.uses > 0 ? bytes_of(id) : 0;
  plan_.drop(id);
  plan_.allow(id, false);
  settle(out);
  return out;
}

stream_actions stream_rule::set_capacity(uint64_t capacity_bytes) {
  stream_actions out;
  capacity_bytes_ = capacity_bytes;
  choice_is_due_ = true;
  restart_plan();
  settle(out);
  return out;
}

bool stream_rule::is_ready(layer_id layer) const {
  const auto& units = units_of(layer);
  return std::all_of(units.begin(), units.end(), [&](unit_id u) { return units_[u].at == place::there; });
}

std::optional<stream_block> stream_rule::blocked(layer_id layer) const {
  const auto missing = missing_bytes(layer);
  if (layer_uses_.at(layer) == 0 || missing == 0 || in_use_bytes_ + missing <= capacity_bytes_)
    return std::nullopt;
  uint64_t all = 0;
  for (auto u : units_of(layer))
    all += bytes_of(u);
  return stream_block{all, missing, in_use_bytes_, capacity_bytes_};
}

stream_counts stream_rule::counts() const {
  auto now = counts_;
  now.ahead_bytes = ahead_bytes();
  now.in_use_bytes = in_use_bytes_;
  now.resident_bytes = taken_bytes_;
  return now;
}

/// Whether a unit of it is neither there nor on its way.
bool stream_rule::lacks(layer_id layer) const {
  const auto& units = units_of(layer);
  return std::any_of(units.begin(), units.end(), [&](unit_id u) { return units_[u].at == place::absent; });
}

uint64_t stream_rule::missing_bytes(layer_id layer) const {
  uint64_t sum = 0;
  for (auto u : units_of(layer))
    sum += units_[u].at == place::absent ? bytes_of(u) : 0;
  return sum;
}

/// Every input ends here: what must go goes, what is waited for comes, then what will be needed.
void stream_rule::settle(stream_actions& out) {
  if (taken_bytes_ > capacity_bytes_)
    evict_farthest(0, out);
  if (serve_waiting(out) && taken_bytes_ <= capacity_bytes_)
    fetch_ahead(out);
}

/// Whether nothing that can come still waits to be started. One that waits for a copy to end, so that what was copied
/// can leave, keeps later ones from taking the room.
bool stream_rule::serve_waiting(stream_actions& out) {
  std::erase_if(waiting_, [&](layer_id l) { return layer_uses_[l] == 0 || !lacks(l); });
  return std::all_of(waiting_.begin(), waiting_.end(), [&](layer_id l) { return blocked(l) || fetch_missing(l, out); });
}

bool stream_rule::fetch_missing(layer_id layer, stream_actions& out) {
  for (auto u : units_of(layer)) {
    if (units_[u].at != place::absent || units_[u].lost)
      continue;
    if (!make_planned_room(bytes_of(u), out))
      evict_farthest(bytes_of(u), out);
    if (free_bytes() < bytes_of(u))
      return false;
    start(u, out);
  }
  return true;
}

/// The plan goes on until it wants something for which there is no room yet, for one cycle at most.
void stream_rule::fetch_ahead(stream_actions& out) {
  std::vector<unit_id> let_go;
  while (fetch_wanted(out) && plan_.step() < next_step() + order_.size()) {
    wanted_.clear();
    next_wanted_ = 0;
    let_go.clear();
    plan_.advance(wanted_, let_go);
    for (auto u : wanted_)
      file(u);
    for (auto u : let_go)
      file(u);
  }
}

/// Whether all that the plan's last step wanted is there or on its way.
bool stream_rule::fetch_wanted(stream_actions& out) {
  for (; next_wanted_ < wanted_.size(); ++next_wanted_) {
    const auto u = wanted_[next_wanted_];
    if (units_[u].at != place::absent || units_[u].lost)
      continue;
    const bool is_turn = coming_bytes_ == 0 || coming_bytes_ + bytes_of(u) <= limits_.max_coming_bytes;
    if (!is_turn || !make_planned_room(bytes_of(u), out))
      return false;
    start(u, out);
  }
  return true;
}

/// Of what the plan does without by now, as much goes as it takes.
bool stream_rule::make_planned_room(uint64_t bytes, stream_actions& out) {
  while (free_bytes() < bytes && !may_go_.empty() && may_go_.begin()->first <= next_step())
    evict(may_go_.begin()->second, out);
  return free_bytes() >= bytes;
}

/// Room that the plan did not foresee: of all that is unused, what is needed last goes. Then the plan starts anew.
void stream_rule::evict_farthest(uint64_t bytes, stream_actions& out) {
  std::vector<unit_id> victims;
  for (unit_id u = 0; u < units_.size(); ++u)
    if (units_[u].at == place::there && units_[u].uses == 0)
      victims.push_back(u);
  const auto next = plan_.next_uses(next_step());
  std::sort(victims.begin(), victims.end(), [&](unit_id a, unit_id b) { return next[a] > next[b]; });
  const auto enough = taken_bytes_ + bytes - std::min(taken_bytes_ + bytes, capacity_bytes_);
  uint64_t sum = 0;
  size_t count = 0;
  while (count < victims.size() && sum < enough)
    sum += bytes_of(victims[count++]);
  victims.resize(count);
  spare_what_fits(victims, enough, shape().unit_bytes);
  for (auto u : victims)
    evict(u, out);
  restart_plan();
}

void stream_rule::start(unit_id id, stream_actions& out) {
  auto& u = units_[id];
  u.at = place::coming;
  taken_bytes_ += bytes_of(id);
  coming_bytes_ += bytes_of(id);
  in_use_bytes_ += u.uses > 0 ? bytes_of(id) : 0;
  out.push_back(fetch_unit{id});
}

void stream_rule::evict(unit_id id, stream_actions& out) {
  units_[id].at = place::absent;
  taken_bytes_ -= bytes_of(id);
  file(id);
  out.push_back(evict_unit{id});
}

/// Keeps may_go_ in step with what has become of the unit.
void stream_rule::file(unit_id id) {
  auto& u = units_[id];
  if (u.may_go)
    may_go_.erase({u.may_go_from, id});
  u.may_go = u.at == place::there && u.uses == 0 && !plan_.holds(id);
  u.may_go_from = plan_.free_from(id);
  if (u.may_go)
    may_go_.emplace(u.may_go_from, id);
}

}  // namespace longshore
