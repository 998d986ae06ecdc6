#include "pin_ledger_world.hpp"

#include <algorithm>

namespace longshore {
namespace {

pin_limits any_limits(std::mt19937& random) {
  const auto host = 4 + random() % 17;
  return {.host_limit_bytes = host,
          .pin_limit_bytes = random() % 16 == 0 ? 0 : 1 + random() % host,
          .hysteresis_bytes = random() % 5};
}

}  // namespace

pin_world::pin_world(uint64_t seed, pin_tally& tally)
    : random_(static_cast<std::mt19937::result_type>(seed)),
      limits_(any_limits(random_)),
      ledger_(limits_),
      tally_(tally) {}

void pin_world::live() {
  const auto steps = 10 + below(30);
  for (uint64_t i = 0; i < steps; ++i)
    one_step();
}

void pin_world::one_step() {
  ++tally_.steps;
  const auto choice = below(100);
  if (owners_.size() < 2 || (choice < 10 && owners_.size() < 8))
    return open();
  const auto who = any_owner(true);
  if (who == 0)
    return open();
  if (choice < 50)
    ask_for_memory(who);
  else if (choice < 70)
    give(any_owner(below(4) != 0));
  else if (choice < 75)
    end_wish(event::deadline);
  else if (choice < 78)
    end_wish(event::cancel);
  else if (choice < 84)
    change_class(who);
  else if (choice < 88)
    change_lease(who);
  else if (choice < 91)
    die(who);
  else if (choice < 94)
    decline(who);
  else if (choice < 97)
    press();
  else {
    owners_.at(who).last_use = ++uses_;
    ledger_.touch(who);
  }
}

void pin_world::drain() {
  std::vector<account_id> all;
  for (const auto& [id, o] : owners_)
    all.push_back(id);
  for (auto id : all)  // some do as they were asked
    if (owners_.contains(id) && below(2) == 0)
      give_back(id, owners_.at(id).asked);
  while (!wishes_.empty())
    end_wish(below(4) == 0 ? event::cancel : event::deadline);
  for (auto id : all) {
    if (owners_.contains(id) && below(2) == 0)
      die(id);
    if (owners_.contains(id))
      give_back(id, owners_.at(id).real);
    if (owners_.contains(id))
      die(id);
  }
  check(ledger_.used() == memory_bytes{} && ledger_.asked_back() == memory_bytes{}, "something is left in use");
  check(ledger_.waiting() == 0 && ledger_.accounts().empty(), "somebody is left");
}

void pin_world::open() {
  owner o{.cls = static_cast<pin_class>(below(5)), .leased = below(4) == 0, .segment_bytes = 1 + below(3)};
  const auto id = ledger_.open_account({"owner", o.cls, o.leased, o.segment_bytes});
  check(id && !owners_.contains(*id), "an account is refused or used twice");
  o.last_use = ++uses_;
  owners_.emplace(*id, o);
}

/// Host bytes, pins of what is there, or both together; now and then more than there can ever be.
void pin_world::ask_for_memory(account_id who) {
  auto& o = owners_.at(who);
  pin_claim claim{.ticket = next_ticket_++, .account = who, .patient = below(3) == 0};
  const auto bytes = below(8) == 0 ? below(limits_.host_limit_bytes + 3) : 1 + below(5);
  const auto shape = below(4);
  claim.wanted.host_bytes = shape < 3 ? bytes : 0;
  claim.wanted.pinned_bytes = shape == 0  ? 0
                              : shape < 3 ? below(bytes + 1)
                                          : std::min(bytes, o.real.host_bytes + below(2));
  o.silent = false;
  new_ticket_ = claim.ticket;
  auto stored = claim;
  if (limits_.pin_limit_bytes == 0 && claim.wanted.host_bytes > 0)
    stored.wanted.pinned_bytes = 0;
  wishes_.push_back({stored, next_arrival_++});
  carry_out(ledger_.request(claim), event::other);
  new_ticket_ = 0;
}

/// Gives what it was asked for, a part of it, more than that, or something that nobody asked for.
void pin_world::give(account_id who) {
  if (who == 0)
    return;
  const auto& o = owners_.at(who);
  auto bytes = o.asked;
  if (below(2) == 0) {
    bytes.host_bytes = below(o.real.host_bytes + 1);
    const auto must_unpin = o.real.pinned_bytes - std::min(o.real.pinned_bytes, o.real.host_bytes - bytes.host_bytes);
    bytes.pinned_bytes = must_unpin + below(o.real.pinned_bytes - must_unpin + 1);
  }
  if (o.asked == memory_bytes{} && bytes != memory_bytes{})
    ++tally_.unasked_reliefs;
  else if (bytes.host_bytes > o.asked.host_bytes || bytes.pinned_bytes > o.asked.pinned_bytes)
    ++tally_.larger_reliefs;
  else if (bytes != memory_bytes{} && bytes != o.asked)
    ++tally_.partial_reliefs;
  give_back(who, bytes);
}

void pin_world::give_back(account_id who, memory_bytes bytes) {
  auto& o = owners_.at(who);
  bytes.pinned_bytes =  // no pins without host bytes under them
      std::max(bytes.pinned_bytes,
               o.real.pinned_bytes - std::min(o.real.pinned_bytes, o.real.host_bytes - bytes.host_bytes));
  for (auto which : {budget::host, budget::pinned}) {
    o.real.of(which) -= bytes.of(which);
    o.asked.of(which) -= std::min(o.asked.of(which), bytes.of(which));
  }
  o.silent = false;
  if (o.dead && o.real == memory_bytes{})
    owners_.erase(who);
  carry_out(ledger_.relieved(who, bytes), event::other);
}

void pin_world::decline(account_id who) {
  auto& o = owners_.at(who);
  tally_.declined += o.asked != memory_bytes{};
  forgive(o);
  o.declined_before = next_arrival_;
  carry_out(ledger_.declined(who), event::other);
}

/// The owner goes, whatever it waits for or was asked for. Its memory stays real until somebody gives it back.
void pin_world::die(account_id who) {
  auto& o = owners_.at(who);
  if (o.dead)
    return;
  o.dead = true;
  tally_.died_while_asked += o.asked != memory_bytes{};
  tally_.died_waiting +=
      std::any_of(wishes_.begin(), wishes_.end(), [=](const wish& w) { return w.claim.account == who; });
  o.asked = o.real;
  const bool had_nothing = o.real == memory_bytes{};
  carry_out(ledger_.close_account(who), event::death);
  if (had_nothing)
    owners_.erase(who);
}

void pin_world::change_class(account_id who) {
  auto& o = owners_.at(who);
  const auto cls = static_cast<pin_class>(below(5));
  const bool rises = cls < o.cls;
  o.cls = cls;
  o.last_use = ++uses_;
  const auto all = ledger_.reclassify(who, cls);
  if (rises) {
    check(o.asked == memory_bytes{} || (!all.empty() && std::holds_alternative<let_off>(all.front())),
          "an owner that rises is not let off");
    o.silent = false;
    o.declined_before = 0;
  }
  carry_out(all, event::other);
}

void pin_world::change_lease(account_id who) {
  auto& o = owners_.at(who);
  o.leased = !o.leased;
  if (o.leased)
    o.silent = false;
  o.declined_before = 0;
  carry_out(ledger_.set_leased(who, o.leased), event::other);
}

void pin_world::end_wish(event how) {
  if (wishes_.empty())
    return;
  const auto w = wishes_.at(below(wishes_.size()));
  if (how == event::deadline) {
    for (auto& [id, o] : owners_)
      for (auto which : {budget::host, budget::pinned})
        if (lack(w, which) > 0 && o.asked.of(which) > 0 && !o.silent) {
          o.silent = true;
          ++tally_.silent_victims;
        }
    carry_out(ledger_.deadline(w.claim.ticket), event::deadline);
  } else {
    carry_out(ledger_.cancel(w.claim.ticket), event::cancel);
  }
  for (const auto& left : wishes_)
    check(left.claim.ticket != w.claim.ticket, "a claim outlives its end");
  check(ledger_.cancel(w.claim.ticket).empty() && ledger_.deadline(w.claim.ticket).empty(), "a claim ends twice");
}

void pin_world::press() { carry_out(ledger_.pressure(below(limits_.host_limit_bytes)), event::pressure); }

void pin_world::forgive(owner& o) {
  o.asked = {};
  o.silent = false;
}

/// Somebody of the living or of the dead who left something; 0 when there is none.
account_id pin_world::any_owner(bool alive) {
  const auto start = below(owners_.size());
  for (uint64_t i = 0; i < owners_.size(); ++i) {
    const auto it = std::next(owners_.begin(), static_cast<long>((start + i) % owners_.size()));
    if (it->second.dead != alive)
      return it->first;
  }
  return 0;
}

void pin_world::carry_out(const pin_actions& all, event why) {
  now_ = why;
  asked_in_step_[0] = asked_in_step_[1] = false;
  for (const auto& one : all)
    std::visit([&](const auto& order) { obey(order); }, one);
  check_after_step();
}

void pin_world::obey(const pin_grant& order) {
  const auto found =
      std::find_if(wishes_.begin(), wishes_.end(), [&](const wish& w) { return w.claim.ticket == order.ticket; });
  if (found == wishes_.end())
    return check(false, "a grant for nobody");
  check(is_next(*found), "a claim overtakes another");
  check(order.granted == found->claim.wanted && order.account == found->claim.account, "not what was wanted");
  check(!pins_nothing(*found), "pins without host bytes under them");
  ++tally_.granted;
  tally_.granted_after_waiting += order.ticket != new_ticket_;
  wishes_.erase(found);
  auto& o = owners_.at(order.account);
  o.last_use = ++uses_;
  o.real.host_bytes += order.granted.host_bytes;
  o.real.pinned_bytes += order.granted.pinned_bytes;
  check(sum(budget::host) <= limits_.host_limit_bytes, "the host limit is exceeded");
  check(sum(budget::pinned) <= limits_.pin_limit_bytes, "the pin limit is exceeded");
}

void pin_world::obey(const pin_refusal& order) {
  const auto found =
      std::find_if(wishes_.begin(), wishes_.end(), [&](const wish& w) { return w.claim.ticket == order.ticket; });
  if (found == wishes_.end())
    return check(false, "a refusal for nobody");
  const auto refused = *found;
  check_refusal(refused, order.reason.code);
  wishes_.erase(found);
}

void pin_world::obey(const ask_back& order) {
  check_ask(order);
  auto& o = owners_.at(order.account);
  if (order.kind == relief_kind::free)
    o.asked = o.real;
  else
    o.asked.pinned_bytes += order.bytes;
  asked_in_step_[order.kind == relief_kind::free ? 0 : 1] = true;
  tally_.asked_by_pressure += now_ == event::pressure;
}

void pin_world::obey(const let_off& order) {
  auto& o = owners_.at(order.account);
  check(o.asked != memory_bytes{}, "let off from nothing");
  forgive(o);
  ++tally_.let_off;
}

}  // namespace longshore
