#pragma once
/// Which weights are on the device when, for a model that is larger than the device: the weights of the next layers
/// arrive while this one computes, and those used last but needed latest leave.
///
/// Owns the rule and the sums, never a byte of a weight. Pure: no clock, thread, I/O or CAF. One thread at a time. An
/// input is one call; what follows from it comes back as actions for the caller to carry out in order.
///
/// Order: the uses of a pass (from one `begin_pass` to the next) are the guess for the next pass, and for all that
/// follow; before the first pass is over the guess is layer 0, 1, 2 and so on. A use that is not the next one is served
/// all the same; if it stands further on in the order, what was skipped is taken as not coming.
/// Room: a plan (cache/stream_plan.hpp) runs ahead of the uses with a room of the capacity less `ahead_bytes`, and says
/// what to fetch and what may go. Fetches start in the order of need, as soon as the whole capacity has room. So the
/// bytes moved are those of the plan, and `ahead_bytes` is what lets copies run while a layer computes; they are chosen
/// from the rates, at most once a pass, by playing a pass with each of a few amounts. A model that fits moves once.
/// Limits: the room taken never exceeds the capacity, except after the capacity shrank: by what is in use, and by what
/// is on its way, which leaves when its copy is over. A unit in use never leaves.
/// Failure: a copy that is lost leaves its unit absent until a layer with it is acquired again. An acquired layer that
/// can never come is `blocked`; nothing is fetched for it. A layer or unit that does not exist, a release without its
/// acquire, and word of a copy that was not ordered are bugs and assert.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "cache/stream_forecast.hpp"
#include "cache/stream_plan.hpp"
#include "cache/stream_types.hpp"

namespace longshore {

class stream_rule {
public:
  stream_rule(stream_shape shape, uint64_t capacity_bytes, stream_limits limits = {});

  /// A forward pass begins, and the one before is over.
  stream_actions begin_pass();

  /// A use begins; uses can nest and overlap. Its absent units are fetched before all else, after those of uses that
  /// began earlier and still wait for room. Its units stay until the release.
  stream_actions acquire(layer_id layer);
  stream_actions release(layer_id layer);

  /// The copy is over.
  stream_actions fetched(unit_id unit);

  /// The copy failed: the unit is absent, and not fetched again by itself until a layer with it is acquired.
  stream_actions lost(unit_id unit);

  /// Pressure or relief, any time. What is in use stays, and what is on its way; everything else follows at once.
  stream_actions set_capacity(uint64_t capacity_bytes);

  /// For the next choice of `ahead_bytes`.
  void set_rates(stream_rates rates);

  /// Whether all its units are there.
  bool is_ready(layer_id layer) const;

  /// Why this acquired layer cannot come as things are: all else is gone, and what is in use leaves too little room.
  /// Nothing for one that is ready, can still come, or was not acquired. Of two uses that block each other both are
  /// told so: whoever refuses one asks about the newest first, and releases what it refused.
  std::optional<stream_block> blocked(layer_id layer) const;

  stream_counts counts() const;

private:
  enum class place : uint8_t { absent, coming, there };

  struct unit {
    place at = place::absent;
    bool lost = false;         // absent since its copy failed, and not asked for since
    bool may_go = false;       // stands in may_go_
    uint64_t may_go_from = 0;  // and under this step
    uint32_t uses = 0;
  };

  const stream_shape& shape() const { return plan_.shape(); }
  uint64_t bytes_of(unit_id u) const { return shape().unit_bytes[u]; }
  const std::vector<unit_id>& units_of(layer_id l) const { return shape().layers[l]; }

  // The order of uses: stream_order.cpp
  uint64_t next_step() const { return pass_start_ + position_; }
  void next_pass();
  bool is_news();
  void note_use(layer_id layer);
  void go_to(size_t position);
  void find_places();
  void restart_plan();
  std::vector<double> weights() const;
  uint64_t ahead_bytes() const;
  void choose();
  uint64_t chosen_ahead() const;
  double chosen_exponent() const;
  bool is_short() const;
  std::vector<std::pair<uint64_t, stream_forecast>> forecasts() const;

  // What moves: stream_rule.cpp
  uint64_t free_bytes() const { return capacity_bytes_ > taken_bytes_ ? capacity_bytes_ - taken_bytes_ : 0; }
  bool lacks(layer_id layer) const;
  uint64_t missing_bytes(layer_id layer) const;
  void settle(stream_actions& out);
  bool serve_waiting(stream_actions& out);
  bool fetch_missing(layer_id layer, stream_actions& out);
  void fetch_ahead(stream_actions& out);
  bool fetch_wanted(stream_actions& out);
  bool make_planned_room(uint64_t bytes, stream_actions& out);
  void evict_farthest(uint64_t bytes, stream_actions& out);
  void start(unit_id id, stream_actions& out);
  void evict(unit_id id, stream_actions& out);
  void file(unit_id id);

  stream_limits limits_;
  stream_plan plan_;
  std::vector<unit> units_;
  std::vector<uint32_t> layer_uses_;
  std::vector<layer_id> waiting_;  // acquired, not all started; the oldest first
  uint64_t capacity_bytes_, model_bytes_ = 0, largest_layer_bytes_ = 0;
  uint64_t taken_bytes_ = 0;                       // of what is there or coming
  uint64_t coming_bytes_ = 0;                      // of these, what is on its way
  uint64_t in_use_bytes_ = 0;                      // of taken_bytes_, what is in use
  std::set<std::pair<uint64_t, unit_id>> may_go_;  // there, unused, not held by the plan; by when it does without
  std::vector<unit_id> wanted_;                    // by the plan's last step, fetched as far as next_wanted_
  size_t next_wanted_ = 0;

  std::vector<layer_id> order_;              // of a pass
  std::vector<layer_id> recorded_;           // uses of this pass so far
  std::vector<std::vector<size_t>> places_;  // by layer, where it stands in the order
  uint64_t pass_start_ = 1;                  // the step of the order's first use in this pass
  size_t position_ = 0;                      // in the order, of the use that is expected next
  bool broke_off_ = true;  // the pass before was only the beginning of the order; a mere guess is no better

  stream_rates rates_;
  uint64_t chosen_ahead_bytes_ = 0;
  bool choice_is_due_ = true;
  stream_counts counts_;
  uint64_t moved_before_pass_bytes_ = 0;
};

}  // namespace longshore
