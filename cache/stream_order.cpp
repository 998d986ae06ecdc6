// The order of uses: learned from one pass, expected of the next.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "cache/stream_forecast.hpp"
#include "cache/stream_rule.hpp"

namespace longshore {
namespace {

constexpr size_t passes_to_judge = 6;  // an exponent by

/// Rates are measured anew all the time; a choice that took them into account holds for rates near them.
bool is_near(double a, double b) { return std::abs(a - b) <= 0.1 * std::max(a, b); }

uint64_t best_of(const std::vector<std::pair<uint64_t, stream_forecast>>& forecasts) {
  const auto quickest = std::min_element(forecasts.begin(), forecasts.end(), [](const auto& a, const auto& b) {
    return a.second.pass_ns < b.second.pass_ns;
  });
  const auto good_enough_ns = 1.01 * quickest->second.pass_ns;
  auto best = quickest;
  for (auto f = forecasts.begin(); f != forecasts.end(); ++f)
    if (f->second.pass_ns <= good_enough_ns && f->second.moved_bytes < best->second.moved_bytes)
      best = f;
  return best->first;
}

double sum_of(const std::vector<uint64_t>& times) { return std::accumulate(times.begin(), times.end(), 0.0); }

}  // namespace

void stream_rule::set_rates(stream_rates rates) {
  const bool is_same = is_near(rates.link_bytes_per_s, rates_.link_bytes_per_s) &&
                       is_near(sum_of(rates.compute_ns), sum_of(rates_.compute_ns));
  if (is_same)
    return;
  rates_ = std::move(rates);
  choice_is_due_ = true;
}

void stream_rule::next_pass() {
  ++counts_.passes;
  counts_.bytes_of_last_pass = counts_.moved_bytes - std::exchange(moved_before_pass_bytes_, counts_.moved_bytes);
  if (is_news()) {
    order_ = recorded_;
    pass_start_ = next_step();
    position_ = 0;
    find_places();
    choice_is_due_ = true;
  } else if (!recorded_.empty()) {
    go_to(order_.size());
    pass_start_ += order_.size();
    position_ = 0;
  }
  recorded_.clear();
  if (choice_is_due_)
    choose();
}

/// Whether this pass tells something new about the order. The mere beginning of a known order is a pass that was broken
/// off, unless it comes twice in a row.
bool stream_rule::is_news() {
  if (recorded_.empty())
    return false;
  const bool is_beginning =
      recorded_.size() <= order_.size() && std::equal(recorded_.begin(), recorded_.end(), order_.begin());
  const bool is_whole = is_beginning && recorded_.size() == order_.size();
  const bool broke_off = is_beginning && !is_whole && !broke_off_;
  broke_off_ = broke_off;
  return !is_whole && !broke_off;
}

void stream_rule::note_use(layer_id layer) {
  ++counts_.uses;
  if (recorded_.size() == limits_.max_uses_per_pass)
    next_pass();
  recorded_.push_back(layer);
  const auto& places = places_[layer];
  const auto found = std::lower_bound(places.begin(), places.end(), position_);
  counts_.departures += found == places.end() || *found != position_ ? 1 : 0;
  if (found != places.end())
    go_to(*found + 1);
}

/// The uses before this position have begun, or will not come. What the plan wanted for them, and was not fetched, is
/// not wanted any more.
void stream_rule::go_to(size_t position) {
  position_ = position;
  if (plan_.step() > next_step())
    return;
  for (; next_wanted_ < wanted_.size(); ++next_wanted_)
    if (const auto u = wanted_[next_wanted_]; units_[u].at == place::absent && units_[u].uses == 0)
      plan_.drop(u);
  plan_.skip_to(next_step());
}

void stream_rule::find_places() {
  places_.assign(shape().layers.size(), {});
  for (size_t i = 0; i < order_.size(); ++i)
    places_[order_[i]].push_back(i);
  plan_.set_order(order_, pass_start_);
  restart_plan();
}

void stream_rule::restart_plan() {
  std::vector<unit_id> held;
  for (unit_id u = 0; u < units_.size(); ++u)
    if (units_[u].at != place::absent)
      held.push_back(u);
  plan_.restart(next_step(), capacity_bytes_ - ahead_bytes(), held, weights());
  wanted_.clear();
  next_wanted_ = 0;
  for (auto u : held)
    file(u);
}

/// How long the steps of a cycle take; as long as their bytes where that is not known. None without room for copies
/// ahead: where nothing overlaps, nothing is to be spread.
std::vector<double> stream_rule::weights() const {
  if (ahead_bytes() == 0)
    return {};
  const bool is_known = sum_of(rates_.compute_ns) > 0;
  std::vector<double> found;
  for (auto layer : order_) {
    double bytes = 0;
    for (auto u : units_of(layer))
      bytes += static_cast<double>(bytes_of(u));
    found.push_back(is_known ? static_cast<double>(rates_.compute_ns[layer]) : bytes);
  }
  return found;
}

/// None for a model that fits, and never so much that the plan would have no room for the largest layer.
uint64_t stream_rule::ahead_bytes() const {
  if (capacity_bytes_ >= model_bytes_ || capacity_bytes_ <= largest_layer_bytes_)
    return 0;
  return std::min(chosen_ahead_bytes_, capacity_bytes_ - largest_layer_bytes_);
}

/// How much room to leave for copies, and which exponent the plan judges by.
void stream_rule::choose() {
  choice_is_due_ = false;
  const auto before = ahead_bytes();
  chosen_ahead_bytes_ = chosen_ahead();
  plan_.set_distance_exponent(chosen_exponent());
  if (ahead_bytes() != before)
    restart_plan();
}

/// The least time for a pass, and the fewest bytes among times as good as that. One largest layer when too little is
/// known to tell.
uint64_t stream_rule::chosen_ahead() const {
  if (limits_.ahead_bytes)
    return *limits_.ahead_bytes;
  const bool is_known = rates_.link_bytes_per_s > 0 && rates_.compute_ns.size() == shape().layers.size();
  const bool is_choice = capacity_bytes_ < model_bytes_ && capacity_bytes_ > largest_layer_bytes_;
  return is_known && is_choice && is_short() ? best_of(forecasts()) : largest_layer_bytes_;
}

double stream_rule::chosen_exponent() const {
  constexpr double farthest = std::numeric_limits<double>::infinity();
  if (limits_.distance_exponent)
    return *limits_.distance_exponent;
  if (capacity_bytes_ >= model_bytes_ || !is_short())
    return farthest;
  double best = farthest;
  auto least = plan_.bytes_of_passes(passes_to_judge, capacity_bytes_ - ahead_bytes(), farthest);
  for (double exponent : {2.0, 1.0, 0.5})
    if (const auto bytes = plan_.bytes_of_passes(passes_to_judge, capacity_bytes_ - ahead_bytes(), exponent);
        bytes < least) {
      least = bytes;
      best = exponent;
    }
  return best;
}

bool stream_rule::is_short() const {
  size_t units = 0;
  for (auto layer : order_)
    units += units_of(layer).size();
  return units <= limits_.max_forecast_units;
}

std::vector<std::pair<uint64_t, stream_forecast>> stream_rule::forecasts() const {
  stream_shape uses{shape().unit_bytes, {}};
  stream_rates rates{rates_.link_bytes_per_s, {}};
  for (auto layer : order_) {
    uses.layers.push_back(units_of(layer));
    rates.compute_ns.push_back(rates_.compute_ns[layer]);
  }
  auto limits = limits_;
  limits.distance_exponent = plan_.distance_exponent();
  std::vector<std::pair<uint64_t, stream_forecast>> found;
  for (uint64_t halves : {0, 1, 2, 3, 4, 6, 8, 16}) {
    limits.ahead_bytes = std::min(largest_layer_bytes_ * halves / 2, capacity_bytes_ - largest_layer_bytes_);
    if (found.empty() || found.back().first != *limits.ahead_bytes)
      found.emplace_back(*limits.ahead_bytes, forecast_pass(uses, rates, capacity_bytes_, limits));
  }
  return found;
}

}  // namespace longshore
