// Who is refused, and in which words.
#include <algorithm>
#include <utility>

#include "cache/pin_ledger.hpp"

namespace longshore {
namespace {

std::string bytes_text(uint64_t bytes) { return std::to_string(bytes) + (bytes == 1 ? " byte" : " bytes"); }

}  // namespace

/// Why waiting cannot help this claim; nothing when it can.
std::optional<error> pin_ledger::objection(const waiting_claim& c) const {
  const auto& wanted = c.claim.wanted;
  const auto& held = account_of(c).held;
  for (auto which : {budget::host, budget::pinned})
    if (wanted.of(which) > limit().of(which))
      return error{errc::out_of_budget, need_text(c, which) + ", which is " +
                                            bytes_text(wanted.of(which) - limit().of(which)) + " too many"};
  const auto pinnable_bytes = held.host_bytes - held.pinned_bytes;
  if (wanted.pinned_bytes > wanted.host_bytes && wanted.pinned_bytes - wanted.host_bytes > pinnable_bytes)
    return error{errc::bad_argument, need_text(c, budget::pinned) + ", and has host memory to pin for only " +
                                         bytes_text(wanted.host_bytes + pinnable_bytes)};
  if (c.claim.patient)
    return std::nullopt;
  for (auto which : {budget::host, budget::pinned})
    if (auto why = no_room_beside_others(c, which))
      return why;
  return std::nullopt;
}

std::optional<error> pin_ledger::no_room_beside_others(const waiting_claim& c, budget which) const {
  uint64_t kept_bytes = 0;
  for (const auto& [id, a] : accounts_)
    kept_bytes += out_of_reach_bytes(c, a, which);
  const auto left_bytes = limit().of(which) - kept_bytes;
  const auto wanted = c.claim.wanted.of(which);
  if (wanted <= left_bytes)
    return std::nullopt;
  return error{errc::out_of_budget, need_text(c, which) + ", " + bytes_text(wanted - left_bytes) +
                                        " more than can be had beside " + out_of_reach_text(c, which)};
}

/// What of the account's memory is not to come free, and is not for this claim to take.
uint64_t pin_ledger::out_of_reach_bytes(const waiting_claim& c, const account& a, budget which) const {
  return could_take(c, a, which) ? 0 : a.held.of(which) - a.asked.of(which);
}

/// What the account was asked for, has not given, and would help this claim.
uint64_t pin_ledger::owed_bytes(const waiting_claim& c, const account& a) const {
  uint64_t most = 0;
  for (auto which : {budget::host, budget::pinned})
    if (c.claim.wanted.of(which) > free_bytes(which))
      most = std::max(most, a.asked.of(which));
  return most;
}

error pin_ledger::too_late(const waiting_claim& c) const {
  holders owing;
  for (const auto& [id, a] : accounts_)
    if (const auto bytes = owed_bytes(c, a); bytes > 0)
      owing.emplace_back(&a, bytes);
  std::string why;
  for (auto which : {budget::host, budget::pinned})
    if (c.claim.wanted.of(which) > free_bytes(which))
      why += (why.empty() ? "" : "; ") + need_text(c, which);
  if (why.empty())
    why = "'" + account_of(c).spec.name + "' wants memory behind earlier claims";
  else if (!owing.empty())
    why += "; asked for memory and silent: " + list_text(c, std::move(owing));
  else if (auto beside = out_of_reach_text(c, budget::host) + out_of_reach_text(c, budget::pinned); !beside.empty())
    why += "; in the way: " + beside;
  return {errc::timed_out, "waited too long: " + why};
}

std::string pin_ledger::need_text(const waiting_claim& c, budget which) const {
  const bool is_host = which == budget::host;
  return "'" + account_of(c).spec.name + "' wants " + std::to_string(c.claim.wanted.of(which)) +
         (is_host ? " host bytes" : " pinned bytes") + " under the " + (is_host ? "host" : "pin") + " limit of " +
         bytes_text(limit().of(which));
}

std::string pin_ledger::out_of_reach_text(const waiting_claim& c, budget which) const {
  holders found;
  for (const auto& [id, a] : accounts_)
    if (const auto bytes = out_of_reach_bytes(c, a, which); c.claim.wanted.of(which) > 0 && bytes > 0)
      found.emplace_back(&a, bytes);
  return list_text(c, std::move(found));
}

/// "'a' (active model, leased) with 5 bytes, ... and 3 more", the largest first.
std::string pin_ledger::list_text(const waiting_claim& c, holders found) const {
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string text;
  for (size_t i = 0; i < found.size() && i < limits_.max_named_holders; ++i) {
    const auto& [a, bytes] = found[i];
    text += (i > 0 ? ", '" : "'") + a->spec.name + "' (" + std::string(name(a->spec.cls)) +
            (a->closed ? ", gone" : "") + (a->spec.leased ? ", leased" : "") +
            (a->declined_before > c.arrival ? ", declined" : "") + ") with " + bytes_text(bytes);
  }
  if (found.size() > limits_.max_named_holders)
    text += " and " + std::to_string(found.size() - limits_.max_named_holders) + " more";
  return text;
}

}  // namespace longshore
