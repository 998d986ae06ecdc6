// Who has to give memory back, how much of it, and in which order.
#include <algorithm>
#include <cassert>

#include "cache/pin_ledger.hpp"

namespace longshore {

/// Pins may be taken from every class below. Host copies only where the owner can do without: those of intermediates,
/// whose clients can put them elsewhere, and of inactive models, which can be read again.
bool pin_ledger::may_take(pin_class taker, pin_class from, bool from_leased, budget which) {
  if (from <= taker)
    return false;
  return which == budget::pinned || (!from_leased && from != pin_class::active_model);
}

/// What is on its way, and not held up by someone who lets deadlines pass.
uint64_t pin_ledger::coming_bytes(budget which) const {
  uint64_t sum = 0;
  for (const auto& [id, a] : accounts_)
    if (!a.silent)
      sum += a.asked.of(which);
  return sum;
}

uint64_t pin_ledger::shortfall_bytes(const waiting_claim& c, budget which) const {
  const auto free_soon_bytes = free_bytes(which) + coming_bytes(which);
  const auto wanted = c.claim.wanted.of(which);
  return wanted > free_soon_bytes ? wanted - free_soon_bytes : 0;
}

uint64_t pin_ledger::with_hysteresis(uint64_t shortfall, budget which) const {
  if (shortfall == 0)
    return 0;
  return shortfall + std::min(limits_.hysteresis_bytes, limit().of(which) - shortfall);
}

/// Whether the claim could have from this account what was not asked back already. The silent count, since they may
/// find their voice; those who said no do not.
bool pin_ledger::could_take(const waiting_claim& c, const account& from, budget which) const {
  return !from.closed && from.declined_before <= c.arrival &&
         may_take(account_of(c).spec.cls, from.spec.cls, from.spec.leased, which);
}

uint64_t pin_ledger::askable_bytes(const waiting_claim& c, budget which) const {
  uint64_t sum = 0;
  for (const auto& [id, a] : accounts_)
    if (!a.silent && could_take(c, a, which))
      sum += a.held.of(which) - a.asked.of(which);
  return sum;
}

/// Asks for what the claim lacks and the hysteresis on top. Where that cannot be had in full the claim only waits, for
/// the silent or for what may not be taken: a part would cost its owners dear and help nobody.
void pin_ledger::make_room(const waiting_claim& c, pin_actions& out) {
  const auto host_lack = shortfall_bytes(c, budget::host), pin_lack = shortfall_bytes(c, budget::pinned);
  if ((host_lack == 0 && pin_lack == 0) || askable_bytes(c, budget::host) < host_lack ||
      askable_bytes(c, budget::pinned) < pin_lack)
    return;
  const auto victims = in_order_of_sacrifice();
  auto need = with_hysteresis(host_lack, budget::host);
  for (auto id : victims)
    if (const auto& a = accounts_.at(id); need > 0 && !a.silent && could_take(c, a, budget::host))
      need -= std::min(need, ask_free(id, out));
  // Only now, since host copies take their pins along.
  need = with_hysteresis(shortfall_bytes(c, budget::pinned), budget::pinned);
  for (auto id : victims)
    if (const auto& a = accounts_.at(id); need > 0 && !a.silent && could_take(c, a, budget::pinned))
      need -= std::min(need, ask_unpin(id, need, out));
}

/// The least important class first, and in a class the least recently used.
std::vector<account_id> pin_ledger::in_order_of_sacrifice() const {
  std::vector<account_id> order;
  order.reserve(accounts_.size());
  for (const auto& [id, a] : accounts_)
    order.push_back(id);
  std::sort(order.begin(), order.end(), [&](account_id left, account_id right) {
    const auto &a = accounts_.at(left), &b = accounts_.at(right);
    return a.spec.cls != b.spec.cls ? a.spec.cls > b.spec.cls : a.last_use < b.last_use;
  });
  return order;
}

/// Asks for the whole host copy, less what was asked for already. Returns the host bytes asked for.
uint64_t pin_ledger::ask_free(account_id id, pin_actions& out) {
  auto& a = accounts_.at(id);
  const auto bytes = a.held.host_bytes - a.asked.host_bytes;
  if (bytes == 0)
    return 0;
  out.push_back(ask_back{id, relief_kind::free, bytes});
  a.asked = a.held;
  return bytes;
}

/// Asks for pins in whole segments, up to all it has. Returns the pinned bytes asked for.
uint64_t pin_ledger::ask_unpin(account_id id, uint64_t need_bytes, pin_actions& out) {
  auto& a = accounts_.at(id);
  const auto left = a.held.pinned_bytes - a.asked.pinned_bytes;
  const auto segment = a.spec.segment_bytes;
  auto bytes = std::min(need_bytes, left);
  bytes += std::min((segment - bytes % segment) % segment, left - bytes);
  if (bytes > 0)
    out.push_back(ask_back{id, relief_kind::unpin, bytes});
  a.asked.pinned_bytes += bytes;
  return bytes;
}

pin_actions pin_ledger::pressure(uint64_t wanted_bytes) {
  pin_actions out;
  auto need = wanted_bytes - std::min(wanted_bytes, relief_beyond_claims_bytes());
  const auto order = in_order_of_sacrifice();
  const auto ask_all = [&](bool declined, pin_class cls, relief_kind kind) {
    for (auto id : order) {
      const auto& a = accounts_.at(id);
      if (need == 0 || a.spec.cls != cls || a.silent || a.closed || (kind == relief_kind::free && a.spec.leased) ||
          declined != (a.declined_before > 0))
        continue;
      // A host copy of which the pins were counted already relieves the machine by the rest of it only.
      const auto pins_counted = a.asked.pinned_bytes - std::min(a.asked.pinned_bytes, a.asked.host_bytes);
      const auto asked = kind == relief_kind::free ? ask_free(id, out) : ask_unpin(id, need, out);
      need -= std::min(need, kind == relief_kind::free ? asked - std::min(asked, pins_counted) : asked);
    }
  };
  for (const bool declined : {false, true}) {
    ask_all(declined, pin_class::inactive_intermediate, relief_kind::free);
    ask_all(declined, pin_class::inactive_model, relief_kind::unpin);
    ask_all(declined, pin_class::inactive_model, relief_kind::free);
  }
  settle(out);  // of those who declined to a waiting claim something may come now
  return out;
}

/// How much less memory will be in use when all that is on its way has come and all who wait for it have been served.
uint64_t pin_ledger::relief_beyond_claims_bytes() const {
  uint64_t coming = 0;
  for (const auto& [id, a] : accounts_)
    if (!a.silent)
      coming += std::max(a.asked.host_bytes, a.asked.pinned_bytes);
  for (const auto& c : line_)
    coming -= std::min(coming, std::max(c.claim.wanted.host_bytes, c.claim.wanted.pinned_bytes));
  return coming;
}

}  // namespace longshore
