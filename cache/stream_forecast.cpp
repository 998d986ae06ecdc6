#include "cache/stream_forecast.hpp"

#include <algorithm>
#include <cassert>
#include <deque>
#include <utility>

#include "cache/stream_rule.hpp"

namespace longshore {
namespace {

constexpr int passes_before = 1;  // until what is there is what a pass finds
constexpr int passes_played = 2;  // what a pass moves differs a little from one to the next

class played_stream {
public:
  played_stream(const stream_shape& uses, const stream_rates& rates, uint64_t capacity_bytes,
                const stream_limits& limits)
      : uses_(uses), rates_(rates), rule_(uses, capacity_bytes, limits) {}

  void pass() {
    carry_out(rule_.begin_pass());
    for (layer_id use = 0; use < uses_.layers.size(); ++use) {
      carry_out(rule_.acquire(use));
      while (!rule_.is_ready(use) && !copies_.empty())
        finish_copy();
      const auto end_ns = now_ns_ + static_cast<double>(rates_.compute_ns[use]);
      while (!copies_.empty() && copies_.front().second <= end_ns)
        finish_copy();
      now_ns_ = std::max(now_ns_, end_ns);
      carry_out(rule_.release(use));
    }
  }

  double now_ns() const { return now_ns_; }
  uint64_t moved_bytes() const { return moved_bytes_; }

private:
  void carry_out(const stream_actions& actions) {
    for (const auto& action : actions)
      if (const auto* fetch = std::get_if<fetch_unit>(&action)) {
        const auto bytes = uses_.unit_bytes[fetch->unit];
        link_free_ns_ = std::max(link_free_ns_, now_ns_) + static_cast<double>(bytes) * 1e9 / rates_.link_bytes_per_s;
        copies_.emplace_back(fetch->unit, link_free_ns_);
        moved_bytes_ += bytes;
      }
  }

  void finish_copy() {
    const auto [unit, at_ns] = copies_.front();
    copies_.pop_front();
    now_ns_ = std::max(now_ns_, at_ns);
    carry_out(rule_.fetched(unit));
  }

  const stream_shape& uses_;
  const stream_rates& rates_;
  stream_rule rule_;
  std::deque<std::pair<unit_id, double>> copies_;  // and when each is over
  double now_ns_ = 0, link_free_ns_ = 0;
  uint64_t moved_bytes_ = 0;
};

}  // namespace

stream_forecast forecast_pass(const stream_shape& uses, const stream_rates& rates, uint64_t capacity_bytes,
                              const stream_limits& limits) {
  assert(limits.ahead_bytes && rates.link_bytes_per_s > 0 && rates.compute_ns.size() == uses.layers.size());
  played_stream stream{uses, rates, capacity_bytes, limits};
  for (int i = 0; i < passes_before; ++i)
    stream.pass();
  const auto begin_ns = stream.now_ns();
  const auto bytes_before = stream.moved_bytes();
  for (int i = 0; i < passes_played; ++i)
    stream.pass();
  return {(stream.now_ns() - begin_ns) / passes_played, (stream.moved_bytes() - bytes_before) / passes_played};
}

}  // namespace longshore
