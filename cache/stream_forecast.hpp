#pragma once
/// How long a pass would take, and what it would move, if one link and one compute engine worked in sequence.
///
/// Owns nothing. It plays passes with a rule of its own (cache/stream_rule.hpp), so what it foresees is what that rule
/// does. Pure, any thread. Cost: three passes of calls to the rule. Failure: none; a use that can never come is left
/// out.

#include <cstdint>

#include "cache/stream_types.hpp"

namespace longshore {

struct stream_forecast {
  double pass_ns = 0;
  uint64_t moved_bytes = 0;
};

/// A pass in the long run. The layers of `uses` are the uses of a pass in their order, and so are the rates' times;
/// the link's rate is known.
stream_forecast forecast_pass(const stream_shape& uses, const stream_rates& rates, uint64_t capacity_bytes,
                              const stream_limits& limits);

}  // namespace longshore
