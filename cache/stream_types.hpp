#pragma once
/// What goes into the rule of streaming and what comes out: the model's shape, measured rates, actions, counts.
///
/// Owns nothing. Plain values, any thread. An action is an order to whoever copies weights to the device, carried out
/// in the order given.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

namespace longshore {

using unit_id = uint32_t;   ///< one device allocation: a layer's tensors, or a part of a large layer
using layer_id = uint32_t;  ///< what the client acquires and releases

struct stream_shape {
  std::vector<uint64_t> unit_bytes;          ///< by unit
  std::vector<std::vector<unit_id>> layers;  ///< by layer; a unit may stand in several: tied weights, groups
};

/// Measured by the caller. Zeros, and no times: not known yet.
struct stream_rates {
  double link_bytes_per_s = 0;
  std::vector<uint64_t> compute_ns{};  ///< by layer: from its units being there to its release
};

struct stream_limits {
  size_t max_uses_per_pass = 65536;  ///< a longer pass is cut into passes of so many uses
  size_t max_forecast_units = 1024;  ///< passes that use more units, counted at each use, are not played to choose for
  uint64_t max_coming_bytes = uint64_t{256} << 20;  ///< nothing is fetched ahead beyond these, so that what is acquired
                                                    ///< need not wait long; a larger unit comes alone
  std::optional<uint64_t> ahead_bytes{};            ///< fixed, instead of chosen from the rates
  std::optional<double> distance_exponent{};  ///< fixed, instead of chosen by what it moves: cache/stream_plan.hpp
};

/// Start the unit's copy to the device now. Its room counts as taken from here. Answered by `fetched` or `lost`.
struct fetch_unit {
  unit_id unit;
  friend bool operator==(const fetch_unit&, const fetch_unit&) = default;
};

/// The unit leaves the device. Its room is free at once: the caller orders later copies behind the unit's last use.
struct evict_unit {
  unit_id unit;
  friend bool operator==(const evict_unit&, const evict_unit&) = default;
};

using stream_action = std::variant<fetch_unit, evict_unit>;
using stream_actions = std::vector<stream_action>;

/// Why an acquired layer cannot come as things are: `missing_bytes` of its `layer_bytes` are not there nor on their
/// way, and do not fit into `capacity_bytes` beside the `in_use_bytes` that may not leave (its own present units are
/// among these).
struct stream_block {
  uint64_t layer_bytes = 0;
  uint64_t missing_bytes = 0;
  uint64_t in_use_bytes = 0;
  uint64_t capacity_bytes = 0;
  friend bool operator==(const stream_block&, const stream_block&) = default;
};

struct stream_counts {
  uint64_t passes = 0;              ///< begun
  uint64_t uses = 0;                ///< acquired
  uint64_t hits = 0;                ///< uses whose units were all there
  uint64_t departures = 0;          ///< uses that were not the next in the order
  uint64_t moved_bytes = 0;         ///< of copies that are over
  uint64_t bytes_of_last_pass = 0;  ///< moved between the last two beginnings of a pass
  uint64_t ahead_bytes = 0;         ///< room kept for copies that run while a layer computes, as now in force
  uint64_t in_use_bytes = 0;        ///< of units of acquired layers, there or on their way
  uint64_t resident_bytes = 0;      ///< room taken: what is there and what is on its way
};

}  // namespace longshore
