#pragma once
/// What to hold at each step of an endless cycle of uses, in so much room: a cache that nobody has, run ahead of the
/// real one to know what that should fetch and what it may let go.
///
/// Owns the cycle and the set of units that the plan holds. Pure, one thread at a time. Who is needed farthest ahead
/// goes: for units of one size nothing moves less (Belady). Units differ in size, so what was chosen to go and turns
/// out to be more than was needed stays, the largest first; and a few other choices stand against the farthest ones,
/// each judged by the sum of bytes / distance ^ `distance_exponent` of what goes. Which exponent moves the least
/// depends on order and sizes: `bytes_of_passes` tells. A step whose layer is larger than the room changes nothing.
/// Cost: a step costs its layer's units, each by the logarithm of all; `restart`, `next_uses` and `set_order` go over
/// the cycle once, `bytes_of_passes` some times. Failure: none; a step, layer or unit that does not exist is a bug.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "cache/stream_types.hpp"

namespace longshore {

/// Takes out of `victims` what need not go for `enough_bytes`.
void spare_what_fits(std::vector<unit_id>& victims, uint64_t enough_bytes, const std::vector<uint64_t>& unit_bytes);

class stream_plan {
public:
  static constexpr uint64_t never = std::numeric_limits<uint64_t>::max();

  explicit stream_plan(stream_shape shape);

  const stream_shape& shape() const { return shape_; }

  /// The layers of the cycle, of which the first stands at `first_step`. `restart` comes next.
  void set_order(const std::vector<layer_id>& order, uint64_t first_step);

  /// Infinite: the farthest go, and nothing else is tried.
  void set_distance_exponent(double exponent) { distance_exponent_ = exponent; }

  double distance_exponent() const { return distance_exponent_; }

  /// What so many cycles would move, begun with nothing in so much room.
  uint64_t bytes_of_passes(size_t passes, uint64_t room_bytes, double distance_exponent) const;

  /// From this step on, with what of `held` is worth keeping in the room. `weights`: by place in the cycle, how long
  /// its step takes, in any unit; none: nothing is spread.
  void restart(uint64_t step, uint64_t room_bytes, const std::vector<unit_id>& held,
               const std::vector<double>& weights);

  /// Plans the next step. Appends the units that come for it to `wanted`, those that go for them to `let_go`.
  void advance(std::vector<unit_id>& wanted, std::vector<unit_id>& let_go);

  /// The steps before this one are over, or will not come.
  void skip_to(uint64_t step);

  /// The unit is not coming after all.
  void drop(unit_id unit);

  /// Whether the plan may want this unit.
  void allow(unit_id unit, bool allowed) { barred_[unit] = !allowed; }

  bool holds(unit_id unit) const { return next_use_[unit] != absent; }

  /// The step that is planned next.
  uint64_t step() const { return step_; }
  uint64_t cycle_steps() const { return order_.size(); }

  /// The step from which on the plan does without a unit that it let go.
  uint64_t free_from(unit_id unit) const { return free_from_[unit]; }

  /// By unit, the first step from this one on that uses it, or `never`.
  std::vector<uint64_t> next_uses(uint64_t step) const;

private:
  static constexpr uint64_t absent = 0;  // no use of what is held stands at step 0, which is never planned for

  size_t place(uint64_t step) const { return static_cast<size_t>((step - first_step_) % order_.size()); }
  const std::vector<unit_id>& units_at(uint64_t step) const { return shape_.layers[order_[place(step)]]; }
  void hold(unit_id unit, uint64_t next_use);
  void spread(const std::vector<double>& weights);
  uint64_t missing_bytes(std::span<const unit_id> units) const;
  bool make_room(uint64_t bytes, std::vector<unit_id>& let_go);
  std::vector<unit_id> farthest(uint64_t enough_bytes, size_t others) const;
  void try_others(std::vector<unit_id>& victims, const std::vector<unit_id>& farthest, uint64_t enough_bytes) const;
  double loss(const std::vector<unit_id>& victims) const;
  void pass_step();

  stream_shape shape_;
  std::vector<layer_id> order_;
  uint64_t first_step_ = 0;
  std::vector<size_t> first_distance_;  // by place in the cycle, where its units stand in distances_
  std::vector<uint64_t> distances_;     // to the next use of the same unit, in steps
  double distance_exponent_ = std::numeric_limits<double>::infinity();
  uint64_t room_bytes_ = 0, held_bytes_ = 0;
  uint64_t step_ = 0;
  std::set<std::pair<uint64_t, unit_id>> by_next_use_;  // what is held
  std::vector<uint64_t> next_use_;                      // by unit; `absent` when not held
  std::vector<uint64_t> free_from_;                     // by unit
  std::vector<char> barred_;                            // by unit
  std::vector<char> goes_first_;                        // by unit, before `spread_until_`
  uint64_t spread_until_ = 0;
};

}  // namespace longshore
