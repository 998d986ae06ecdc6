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
#include <vector>

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
};

}  // namespace longshore
