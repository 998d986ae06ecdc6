#include "cache/pin_ledger.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace longshore {
namespace {

constexpr budget both[] = {budget::host, budget::pinned};

}  // namespace

std::string_view name(pin_class c) {
  switch (c) {
    case pin_class::stream_staging:
      return "stream staging";
    case pin_class::active_intermediate:
      return "active intermediate";
    case pin_class::active_model:
      return "active model";
    case pin_class::inactive_model:
      return "inactive model";
    case pin_class::inactive_intermediate:
      return "inactive intermediate";
  }
  return "unknown";
}

pin_ledger::pin_ledger(const pin_limits& limits) : limits_(limits) {}

expected<account_id> pin_ledger::open_account(const account_spec& spec) {
  assert(spec.segment_bytes > 0);
  if (accounts_.size() >= limits_.max_accounts)
    return unexpected(error{errc::overloaded, "no room for '" + spec.name + "' in the ledger: it has " +
                                                  std::to_string(accounts_.size()) + " accounts"});
  const auto id = next_account_++;
  accounts_.emplace(id, account{.spec = spec, .last_use = ++uses_});
  return id;
}

pin_actions pin_ledger::close_account(account_id id) {
  pin_actions out;
  auto* gone = find_open(id);
  if (!gone)
    return out;
  for (const auto& c : line_)
    if (c.claim.account == id)
      out.push_back(pin_refusal{c.claim.ticket, {errc::cancelled, "'" + gone->spec.name + "' is gone"}});
  std::erase_if(line_, [=](const waiting_claim& c) { return c.claim.account == id; });
  gone->closed = true;
  gone->asked = gone->held;
  if (gone->held == memory_bytes{})
    accounts_.erase(id);
  settle(out);
  return out;
}

pin_actions pin_ledger::request(const pin_claim& claim) {
  assert(find_waiting(claim.ticket) == line_.end());
  pin_actions out;
  auto* owner = find_open(claim.account);
  if (!owner) {
    out.push_back(pin_refusal{claim.ticket, {errc::not_found, "whoever asks for memory has no account"}});
  } else if (line_.size() >= limits_.max_waiting) {
    out.push_back(
        pin_refusal{claim.ticket, {errc::overloaded, "too many wait for memory: " + std::to_string(line_.size())}});
  } else {
    auto wanted = claim;
    if (limits_.pin_limit_bytes == 0 && claim.wanted.host_bytes > 0)
      wanted.wanted.pinned_bytes = 0;
    owner->silent = false;
    line_.push_back({wanted, next_arrival_++});
    sort_line();
    settle(out);
  }
  return out;
}

pin_actions pin_ledger::cancel(pin_ticket ticket) {
  pin_actions out;
  const auto found = find_waiting(ticket);
  if (found == line_.end())
    return out;
  out.push_back(pin_refusal{ticket, {errc::cancelled, "'" + account_of(*found).spec.name + "' no longer waits"}});
  line_.erase(found);
  settle(out);
  return out;
}

pin_actions pin_ledger::deadline(pin_ticket ticket) {
  pin_actions out;
  const auto found = find_waiting(ticket);
  if (found == line_.end())
    return out;
  out.push_back(pin_refusal{ticket, too_late(*found)});
  for (auto& [id, a] : accounts_)
    a.silent = a.silent || owed_bytes(*found, a) > 0;
  line_.erase(found);
  settle(out);
  return out;
}

pin_actions pin_ledger::relieved(account_id id, memory_bytes bytes) {
  pin_actions out;
  const auto found = accounts_.find(id);
  if (found == accounts_.end())
    return out;
  auto& a = found->second;
  for (auto which : both) {
    assert(bytes.of(which) <= a.held.of(which));
    a.held.of(which) -= bytes.of(which);
    a.asked.of(which) -= std::min(a.asked.of(which), bytes.of(which));
    used_.of(which) -= bytes.of(which);
  }
  assert(a.held.pinned_bytes <= a.held.host_bytes);
  a.silent = false;
  if (a.closed && a.held == memory_bytes{})
    accounts_.erase(found);
  settle(out);
  return out;
}

pin_actions pin_ledger::declined(account_id id) {
  pin_actions out;
  auto* a = find_open(id);
  if (!a)
    return out;
  a->asked = {};
  a->silent = false;
  a->declined_before = next_arrival_;
  settle(out);
  return out;
}

pin_actions pin_ledger::reclassify(account_id id, pin_class cls) {
  pin_actions out;
  auto* a = find_open(id);
  if (!a)
    return out;
  const auto before = std::exchange(a->spec.cls, cls);
  touch(id);
  if (cls < before)
    excuse(id, *a, out);
  sort_line();
  settle(out);
  return out;
}

pin_actions pin_ledger::set_leased(account_id id, bool leased) {
  pin_actions out;
  auto* a = find_open(id);
  if (!a)
    return out;
  const auto before = std::exchange(a->spec.leased, leased);
  if (leased && !before)
    excuse(id, *a, out);
  else if (before && !leased)
    a->declined_before = 0;  // what was declined because of the lease may be asked for again
  settle(out);
  return out;
}

void pin_ledger::touch(account_id id) {
  if (auto* a = find_open(id))
    a->last_use = ++uses_;
}

std::vector<account_info> pin_ledger::accounts() const {
  std::vector<account_info> all;
  all.reserve(accounts_.size());
  for (const auto& [id, a] : accounts_)
    all.push_back({id, a.spec, a.held, a.asked, a.silent, a.closed, a.last_use});
  return all;
}

memory_bytes pin_ledger::asked_back() const {
  memory_bytes sum;
  for (const auto& [id, a] : accounts_)
    for (auto which : both)
      sum.of(which) += a.asked.of(which);
  return sum;
}

pin_ledger::account* pin_ledger::find_open(account_id id) {
  const auto found = accounts_.find(id);
  return found == accounts_.end() || found->second.closed ? nullptr : &found->second;
}

pin_ledger::line::iterator pin_ledger::find_waiting(pin_ticket ticket) {
  return std::find_if(line_.begin(), line_.end(), [=](const waiting_claim& c) { return c.claim.ticket == ticket; });
}

void pin_ledger::sort_line() {
  const auto place = [&](const waiting_claim& c) { return std::pair(account_of(c).spec.cls, c.arrival); };
  std::sort(line_.begin(), line_.end(),
            [&](const waiting_claim& a, const waiting_claim& b) { return place(a) < place(b); });
}

/// Serves the line as far as it can be served now. Every input that can matter to it ends here. Again until nothing
/// moves, since what is asked for a later claim can help an earlier one: a host copy that was declined to the earlier
/// takes its pins along.
void pin_ledger::settle(pin_actions& out) {
  for (size_t before = out.size() + 1; before != out.size();) {
    before = out.size();
    serve_line(out);
  }
}

void pin_ledger::serve_line(pin_actions& out) {
  memory_bytes wanted_before{};
  for (auto c = line_.begin(); c != line_.end();) {
    if (auto why = objection(*c)) {
      out.push_back(pin_refusal{c->claim.ticket, std::move(*why)});
      c = line_.erase(c);
      continue;
    }
    const bool is_next = std::all_of(std::begin(both), std::end(both), [&](budget which) {
      return c->claim.wanted.of(which) == 0 || wanted_before.of(which) == 0;
    });
    if (is_next && fits(*c)) {
      grant(*c, out);
      c = line_.erase(c);
      continue;
    }
    if (is_next)
      make_room(*c, out);
    for (auto which : both)
      wanted_before.of(which) |= c->claim.wanted.of(which);
    ++c;
  }
}

bool pin_ledger::fits(const waiting_claim& c) const {
  return c.claim.wanted.host_bytes <= free_bytes(budget::host) &&
         c.claim.wanted.pinned_bytes <= free_bytes(budget::pinned);
}

void pin_ledger::grant(const waiting_claim& c, pin_actions& out) {
  auto& a = accounts_.at(c.claim.account);
  for (auto which : both) {
    a.held.of(which) += c.claim.wanted.of(which);
    used_.of(which) += c.claim.wanted.of(which);
    assert(used_.of(which) <= limit().of(which));
  }
  assert(a.held.pinned_bytes <= a.held.host_bytes);
  a.last_use = ++uses_;
  out.push_back(pin_grant{c.claim.ticket, c.claim.account, c.claim.wanted});
}

/// What the account was asked for rested on what it no longer is. What still lacks is asked for anew, of whoever is
/// next.
void pin_ledger::excuse(account_id id, account& a, pin_actions& out) {
  if (a.asked != memory_bytes{})
    out.push_back(let_off{id});
  a.asked = {};
  a.silent = false;
  a.declined_before = 0;
}

}  // namespace longshore
