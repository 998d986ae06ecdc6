#pragma once
/// A device made of numbers for the rule of streaming: carries out its actions and checks each.
///
/// Owns the rule and its own account of every unit, from the actions alone. One thread. The first thing that is wrong
/// stays in `fault`.

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "cache/stream_rule.hpp"

namespace longshore {

class streamed_model {
public:
  streamed_model(const stream_shape& shape, uint64_t capacity_bytes, const stream_limits& limits = {})
      : rule(shape, capacity_bytes, limits),
        shape_(shape),
        units_(shape.unit_bytes.size()),
        acquired_(shape.layers.size()),
        capacity_bytes_(capacity_bytes) {}

  void begin_pass() { carry_out(rule.begin_pass(), "begin_pass"); }

  void acquire(layer_id layer) {
    ++acquired_[layer];
    for (auto u : shape_.layers[layer]) {
      ++units_[u].uses;
      units_[u].used = true;
    }
    carry_out(rule.acquire(layer), "acquire");
  }

  void release(layer_id layer) {
    --acquired_[layer];
    for (auto u : shape_.layers[layer])
      --units_[u].uses;
    carry_out(rule.release(layer), "release");
  }

  /// The copy at this place among those on their way is over; a failed one leaves nothing.
  void finish_copy(size_t at = 0, bool failed = false) {
    const auto u = coming_.at(at);
    coming_.erase(coming_.begin() + static_cast<std::ptrdiff_t>(at));
    units_[u].coming = false;
    units_[u].there = !failed;
    taken_bytes_ -= failed ? shape_.unit_bytes[u] : 0;
    carry_out(failed ? rule.lost(u) : rule.fetched(u), failed ? "lost" : "fetched");
  }

  void set_capacity(uint64_t bytes) {
    capacity_bytes_ = bytes;
    carry_out(rule.set_capacity(bytes), "set_capacity");
  }

  /// A use from begin to end, for which as many copies end as it needs.
  void use(layer_id layer) {
    acquire(layer);
    while (!rule.is_ready(layer) && !coming_.empty())
      finish_copy();
    if (!rule.is_ready(layer) && fault.empty())
      fault = "layer " + std::to_string(layer) + " never came";
    release(layer);
  }

  void pass(const std::vector<layer_id>& order) {
    begin_pass();
    for (auto layer : order)
      use(layer);
  }

  bool is_acquired(layer_id layer) const { return acquired_[layer] > 0; }
  const std::deque<unit_id>& coming() const { return coming_; }
  uint64_t capacity_bytes() const { return capacity_bytes_; }

  /// The units that are there, as text.
  std::string there() const {
    std::string text;
    for (unit_id u = 0; u < units_.size(); ++u)
      text += units_[u].there ? std::to_string(u) + " " : "";
    return text;
  }

  uint64_t taken_bytes() const { return taken_bytes_; }
  uint64_t fetched_bytes() const { return fetched_bytes_; }

  /// Of what is there or coming, what was not used since.
  uint64_t unused_bytes() const {
    uint64_t sum = 0;
    for (unit_id u = 0; u < units_.size(); ++u)
      sum += (units_[u].there || units_[u].coming) && !units_[u].used ? shape_.unit_bytes[u] : 0;
    return sum;
  }

  stream_rule rule;
  std::string fault{}, last_actions{};

private:
  struct unit {
    bool there = false, coming = false, used = false;
    int uses = 0;
  };

  void carry_out(const stream_actions& actions, const char* input) {
    last_actions.clear();
    for (const auto& action : actions) {
      if (const auto* f = std::get_if<fetch_unit>(&action)) {
        auto& u = units_.at(f->unit);
        check(!u.there && !u.coming, input, "fetches what is there", f->unit);
        u.coming = true;
        taken_bytes_ += shape_.unit_bytes[f->unit];
        u.used = u.uses > 0;
        fetched_bytes_ += shape_.unit_bytes[f->unit];
        coming_.push_back(f->unit);
        check(taken_bytes() <= capacity_bytes_ || shape_.unit_bytes[f->unit] == 0, input, "fetches beyond the capacity",
              f->unit);
        last_actions += "+" + std::to_string(f->unit) + " ";
      } else {
        const auto id = std::get<evict_unit>(action).unit;
        auto& u = units_.at(id);
        check(u.there, input, "evicts what is not there", id);
        check(u.uses == 0, input, "evicts what is in use", id);
        u.there = false;
        taken_bytes_ -= shape_.unit_bytes[id];
        last_actions += "-" + std::to_string(id) + " ";
      }
    }
    for (unit_id u = 0; u < units_.size() && taken_bytes() > capacity_bytes_; ++u)
      check(!units_[u].there || units_[u].uses > 0, input, "keeps what does not fit", u);
    check(rule.counts().resident_bytes == taken_bytes(), input, "counts other bytes than there are", 0);
  }

  void check(bool holds, const char* input, const char* what, unit_id u) {
    if (!holds && fault.empty())
      fault = std::string(input) + " " + what + ": unit " + std::to_string(u);
  }

  stream_shape shape_;
  std::vector<unit> units_;
  std::vector<int> acquired_;
  std::deque<unit_id> coming_;
  uint64_t capacity_bytes_, taken_bytes_ = 0, fetched_bytes_ = 0;
};

}  // namespace longshore
