// What must be true in a pin_world, found out by plain search.
#include <algorithm>

#include "pin_ledger_world.hpp"

namespace longshore {

void pin_world::check(bool truth, const char* what) {
  if (!truth && fault_.empty())
    fault_ = what;
}

void pin_world::check_refusal(const wish& w, errc code) {
  switch (code) {
    case errc::cancelled:
      ++tally_.cancelled;
      return check(now_ == event::cancel || (now_ == event::death && owners_.at(w.claim.account).dead),
                   "cancelled without a reason");
    case errc::timed_out:
      ++tally_.timed_out;
      return check(now_ == event::deadline, "timed out without a deadline");
    case errc::bad_argument:
      return check(pins_nothing(w), "wrongly refused for want of host memory");
    case errc::out_of_budget:
      ++(w.claim.ticket == new_ticket_ ? tally_.refused_at_once : tally_.refused_later);
      return check(can_never_fit(w), "refused although it can fit");
    default:
      return check(false, "refused for no known reason");
  }
}

void pin_world::check_ask(const ask_back& order) {
  const auto& o = owners_.at(order.account);
  const auto which = order.kind == relief_kind::free ? budget::host : budget::pinned;
  const auto left = o.real.of(which) - o.asked.of(which);
  check(!o.dead && order.bytes > 0 && order.bytes <= left, "asked for what is not there or was asked for before");
  check(order.bytes == left || (which == budget::pinned && order.bytes % o.segment_bytes == 0), "a broken piece");
  check((now_ == event::pressure && is_pressures_turn(order)) ||
            std::any_of(wishes_.begin(), wishes_.end(), [&](const wish& w) { return explains(w, order, which); }),
        "asked out of turn, without need, or of someone from whom nobody may take");
}

/// Inactive intermediates, then the pins of inactive models, then their host copies, and once more for those who have
/// declined; the oldest first.
bool pin_world::is_pressures_turn(const ask_back& order) const {
  using place = std::pair<int, uint64_t>;
  const auto turn = [](const owner& o, relief_kind kind) {
    const bool is_scrap = o.cls == pin_class::inactive_intermediate && kind == relief_kind::free && !o.leased;
    const bool is_copy = o.cls == pin_class::inactive_model && kind == relief_kind::free && !o.leased;
    const bool is_pin = o.cls == pin_class::inactive_model && kind == relief_kind::unpin;
    const int stage = is_scrap ? 0 : is_pin ? 1 : is_copy ? 2 : 6;
    return place{stage + (o.declined_before > 0 ? 3 : 0), o.last_use};
  };
  const auto& asked = owners_.at(order.account);
  for (const auto& [id, o] : owners_)
    for (auto kind : {relief_kind::unpin, relief_kind::free}) {
      const auto which = kind == relief_kind::free ? budget::host : budget::pinned;
      const bool could = !o.dead && !o.silent && o.real.of(which) > o.asked.of(which);
      if (could && turn(o, kind) < turn(asked, order.kind))
        return false;
    }
  return turn(asked, order.kind).first < 6;
}

/// Whether this claim is a good reason for asking: its turn, its need, its right, and nobody else to be asked first.
bool pin_world::explains(const wish& w, const ask_back& order, budget which) {
  const auto& victim = owners_.at(order.account);
  const auto index = which == budget::host ? 0 : 1;
  const auto limit = which == budget::host ? limits_.host_limit_bytes : limits_.pin_limit_bytes;
  const auto soon = limit - sum(which) + coming(which);
  const auto wanted = w.claim.wanted.of(which);
  const bool needs = wanted > soon || (asked_in_step_[index] && wanted + limits_.hysteresis_bytes > soon);
  if (!is_next(w) || wanted == 0 || !needs || !may_take(w, victim, which) || victim.silent)
    return false;
  if (order.kind == relief_kind::unpin &&
      order.bytes >= wanted + limits_.hysteresis_bytes - soon + victim.segment_bytes)
    return false;
  return std::none_of(owners_.begin(), owners_.end(), [&](const auto& other) {
    const auto& o = other.second;
    const bool first = o.cls != victim.cls ? o.cls > victim.cls : o.last_use < victim.last_use;
    return first && !o.silent && may_take(w, o, which) && o.real.of(which) > o.asked.of(which);
  });
}

/// Between two steps: the sums agree, and everybody who waits has a reason to, and somebody to wait for.
void pin_world::check_after_step() {
  memory_bytes asked;
  for (const auto& [id, o] : owners_) {
    asked.host_bytes += o.asked.host_bytes;
    asked.pinned_bytes += o.asked.pinned_bytes;
  }
  check(ledger_.used() == memory_bytes{sum(budget::host), sum(budget::pinned)}, "the sums differ");
  check(ledger_.asked_back() == asked, "the sums of what is to come differ");
  check(ledger_.waiting() == wishes_.size(), "others wait than should");
  for (const auto& w : wishes_) {
    check(!can_never_fit(w) && !pins_nothing(w), "waits in vain");
    if (!is_next(w))
      continue;
    check(lack(w, budget::host) > 0 || lack(w, budget::pinned) > 0, "waits although it fits");
    bool comes = true, could_come = true;
    for (auto which : {budget::host, budget::pinned}) {
      comes = comes && lack(w, which) <= coming(which);
      could_come = could_come && lack(w, which) <= coming(which) + askable(w, which);
    }
    check(comes || !could_come, "nobody was asked for what is lacking");
  }
}

bool pin_world::may_take(const wish& w, const owner& from, budget which) const {
  const auto& table = which == budget::host ? may_take_host : may_take_pins;
  const auto taker = static_cast<size_t>(owners_.at(w.claim.account).cls);
  return table[taker][static_cast<size_t>(from.cls)] == 'x' && !from.dead && w.arrival >= from.declined_before &&
         !(from.leased && which == budget::host);
}

bool pin_world::is_before(const wish& a, const wish& b) const {
  const auto left = owners_.at(a.claim.account).cls, right = owners_.at(b.claim.account).cls;
  return left != right ? left < right : a.arrival < b.arrival;
}

/// Nobody before it wants what it wants. One that cannot be granted any more is as good as gone.
bool pin_world::is_next(const wish& w) const {
  return std::none_of(wishes_.begin(), wishes_.end(), [&](const wish& other) {
    const bool competes = (other.claim.wanted.host_bytes > 0 && w.claim.wanted.host_bytes > 0) ||
                          (other.claim.wanted.pinned_bytes > 0 && w.claim.wanted.pinned_bytes > 0);
    return competes && is_before(other, w);
  });
}

uint64_t pin_world::sum(budget which) const {
  uint64_t total = 0;
  for (const auto& [id, o] : owners_)
    total += o.real.of(which);
  return total;
}

uint64_t pin_world::coming(budget which) const {
  uint64_t total = 0;
  for (const auto& [id, o] : owners_)
    total += o.silent ? 0 : o.asked.of(which);
  return total;
}

uint64_t pin_world::askable(const wish& w, budget which) const {
  uint64_t total = 0;
  for (const auto& [id, o] : owners_)
    total += may_take(w, o, which) && !o.silent ? o.real.of(which) - o.asked.of(which) : 0;
  return total;
}

bool pin_world::can_never_fit(const wish& w) const {
  for (auto which : {budget::host, budget::pinned}) {
    const auto limit = which == budget::host ? limits_.host_limit_bytes : limits_.pin_limit_bytes;
    uint64_t out_of_reach = 0;
    for (const auto& [id, o] : owners_)
      out_of_reach += may_take(w, o, which) ? 0 : o.real.of(which) - o.asked.of(which);
    if (w.claim.wanted.of(which) > limit || (!w.claim.patient && w.claim.wanted.of(which) > limit - out_of_reach))
      return true;
  }
  return false;
}

bool pin_world::pins_nothing(const wish& w) const {
  const auto& real = owners_.at(w.claim.account).real;
  return real.pinned_bytes + w.claim.wanted.pinned_bytes > real.host_bytes + w.claim.wanted.host_bytes;
}

uint64_t pin_world::lack(const wish& w, budget which) const {
  const auto limit = which == budget::host ? limits_.host_limit_bytes : limits_.pin_limit_bytes;
  const auto free = limit - sum(which);
  return w.claim.wanted.of(which) > free ? w.claim.wanted.of(which) - free : 0;
}

}  // namespace longshore
