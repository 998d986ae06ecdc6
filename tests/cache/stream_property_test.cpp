// Random histories of all that can happen to streaming: uses that nest, overlap and depart from the order, capacity
// that shrinks and grows at any time, copies that end in any order or not at all. The device (stream_fixture.hpp)
// checks each action; here stands what must hold when nothing is on its way any more. A history is made from its number
// alone.
#include <cstdio>
#include <random>

#include <gtest/gtest.h>

#include "stream_fixture.hpp"

using namespace longshore;

namespace {

struct tally {
  uint64_t steps = 0, passes = 0, uses = 0, nested = 0, departures = 0, lost = 0, shrinks = 0, overfull = 0,
           blocked = 0, settled_waits = 0;
};

class stream_history {
public:
  stream_history(uint64_t number, tally& t)
      : rng_(number), tally_(t), shape_(random_shape()), order_(random_order()), model_(shape_, capacity(), limits()) {
    if (pick(2))
      model_.rule.set_rates(rates());
  }

  void live() {
    for (auto steps = 40 + pick(120); steps-- > 0 && model_.fault.empty();) {
      step();
      ++tally_.steps;
      look();
    }
    settle();
  }

  const std::string& fault() const { return model_.fault; }

private:
  uint64_t pick(uint64_t below) { return rng_() % below; }

  stream_shape random_shape() {
    stream_shape s;
    const auto largest = 1 + pick(20);
    for (auto n = 1 + pick(10); n-- > 0;)
      s.unit_bytes.push_back(pick(30) == 0 ? 0 : 1 + pick(largest));
    for (auto n = 1 + pick(10); n-- > 0;) {
      s.layers.emplace_back();
      for (auto m = pick(4); m-- > 0;)
        s.layers.back().push_back(static_cast<unit_id>(pick(s.unit_bytes.size())));
    }
    // A unit once in a layer, for the device counts its uses by the shape.
    for (auto& layer : s.layers) {
      std::sort(layer.begin(), layer.end());
      layer.erase(std::unique(layer.begin(), layer.end()), layer.end());
    }
    return s;
  }

  std::vector<layer_id> random_order() {
    std::vector<layer_id> order;
    for (auto n = 1 + pick(2 * shape_.layers.size()); n-- > 0;)
      order.push_back(static_cast<layer_id>(pick(shape_.layers.size())));
    return order;
  }

  uint64_t capacity() {
    uint64_t all = 0;
    for (auto bytes : shape_.unit_bytes)
      all += bytes;
    return pick(all + all / 4 + 2);
  }

  stream_limits limits() {
    stream_limits l;
    if (pick(4) == 0)
      l.max_uses_per_pass = 1 + pick(20);
    if (pick(2))
      l.max_coming_bytes = pick(40);
    if (pick(3) == 0)
      l.ahead_bytes = pick(40);
    return l;
  }

  stream_rates rates() {
    stream_rates r{1e9 * static_cast<double>(1 + pick(100)) / 50, {}};
    for (size_t i = 0; i < shape_.layers.size(); ++i)
      r.compute_ns.push_back(pick(30));
    return r;
  }

  void step() {
    const auto what = pick(100);
    if (what < 45)
      acquire();
    else if (what < 62)
      release();
    else if (what < 90)
      finish_copy();
    else if (what < 95)
      begin_pass();
    else
      change_capacity();
  }

  void acquire() {
    if (held_.size() >= 4)
      return release();
    const auto layer = pick(8) ? order_[at_++ % order_.size()] : static_cast<layer_id>(pick(shape_.layers.size()));
    ++tally_.uses;
    tally_.nested += held_.empty() ? 0 : 1;
    model_.acquire(layer);
    held_.push_back(layer);
  }

  void release() {
    if (held_.empty())
      return;
    const auto which = pick(held_.size());
    const auto layer = held_[which];
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(which));
    model_.release(layer);
  }

  void finish_copy() {
    if (model_.coming().empty())
      return;
    const auto at = pick(4) ? 0 : pick(model_.coming().size());
    const bool fails = pick(25) == 0;
    if (fails) {
      ++tally_.lost;
      lost_.push_back(model_.coming()[at]);
    }
    model_.finish_copy(at, fails);
  }

  void begin_pass() {
    at_ = 0;
    ++tally_.passes;
    model_.begin_pass();
  }

  void change_capacity() {
    const auto before = model_.capacity_bytes();
    model_.set_capacity(capacity());
    tally_.shrinks += model_.capacity_bytes() < before ? 1 : 0;
  }

  void look() {
    tally_.overfull += model_.taken_bytes() > model_.capacity_bytes() ? 1 : 0;
    for (auto layer : held_)
      tally_.blocked += model_.rule.blocked(layer) ? 1 : 0;
  }

  /// Every copy ends well: then an acquired layer is there, or cannot come, or lacks a unit whose copy was lost.
  void settle() {
    while (!model_.coming().empty() && model_.fault.empty())
      model_.finish_copy();
    for (auto layer : held_) {
      const auto& units = shape_.layers[layer];
      const bool lacks_lost = std::any_of(units.begin(), units.end(), [&](unit_id u) {
        return std::find(lost_.begin(), lost_.end(), u) != lost_.end();
      });
      if (!lacks_lost && !model_.rule.is_ready(layer) && !model_.rule.blocked(layer) && model_.fault.empty())
        model_.fault = "layer " + std::to_string(layer) + " waits for nothing";
      ++tally_.settled_waits;
    }
    refuse_and_finish();
    tally_.departures += model_.rule.counts().departures;
  }

  /// The newest of those that cannot come is released until all others are there; then the device can serve anything.
  void refuse_and_finish() {
    for (auto layer = held_.rbegin(); layer != held_.rend(); ++layer)
      model_.release(*layer);
    held_.clear();
    for (layer_id layer = 0; layer < shape_.layers.size() && model_.fault.empty(); ++layer) {
      model_.acquire(layer);
      while (!model_.coming().empty() && model_.fault.empty())
        model_.finish_copy();
      uint64_t bytes = 0;
      for (auto u : shape_.layers[layer])
        bytes += shape_.unit_bytes[u];
      const bool fits = bytes <= model_.capacity_bytes();
      const auto why = model_.rule.blocked(layer);
      if (model_.fault.empty() && (model_.rule.is_ready(layer) != fits || why.has_value() == fits))
        model_.fault = "alone, layer " + std::to_string(layer) + " does not come as it should";
      if (why && why->layer_bytes != bytes)
        model_.fault = "the wrong reason";
      model_.release(layer);
    }
  }

  std::mt19937_64 rng_;
  tally& tally_;
  stream_shape shape_;
  std::vector<layer_id> order_;
  streamed_model model_;
  std::vector<layer_id> held_;
  std::vector<unit_id> lost_;
  size_t at_ = 0;
};

TEST(stream_property, any_history_keeps_its_promises) {
  constexpr uint64_t histories = 8'000;
  tally t;
  for (uint64_t number = 1; number <= histories; ++number) {
    stream_history history{number, t};
    history.live();
    ASSERT_EQ(history.fault(), "") << "in history " << number;
  }
  const std::pair<const char*, uint64_t> happened[] = {
      {"steps", t.steps},
      {"passes", t.passes},
      {"uses", t.uses},
      {"uses inside others", t.nested},
      {"departures", t.departures},
      {"copies lost", t.lost},
      {"shrinks", t.shrinks},
      {"steps with more than fits", t.overfull},
      {"blocked uses", t.blocked},
      {"uses that were looked at in the end", t.settled_waits},
  };
  for (const auto& [what, times] : happened) {
    std::printf("%12llu %s\n", static_cast<unsigned long long>(times), what);
    EXPECT_GT(times, 100u) << what << ": the histories do not reach this";
  }
}

}  // namespace
