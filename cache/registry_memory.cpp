// Who gets memory, who has to leave for it, and who is refused.
#include <algorithm>
#include <cassert>

#include "cache/registry.hpp"

namespace longshore {
namespace {

std::string bytes_text(uint64_t bytes) { return std::to_string(bytes) + " bytes"; }

const char* memory_text(tier where) { return where == tier::host ? " of memory" : " of device memory"; }

}  // namespace

actions registry::file_opened(file_id file, uint64_t bytes) {
  actions out;
  auto* held = find_file(file);
  if (!held || held->state != file_state::opening)
    return out;
  const auto where = tier_of_file(file);
  auto& budget = ledger(where);
  if (bytes == 0) {
    held->state = file_state::reading;
    out.push_back(grant_bytes{file, 0});
  } else if (bytes > budget.limit_bytes()) {
    refuse(file, errc::out_of_budget,
           "needs " + bytes_text(bytes) + memory_text(where) + ", " + bytes_text(bytes - budget.limit_bytes()) +
               " more than the limit of " + bytes_text(budget.limit_bytes()),
           out);
  } else {
    held->state = file_state::waiting_for_bytes;
    budget.enqueue(file, bytes);
    const auto loads = held->loads;
    for (auto id : loads)
      if (auto too_large = too_large_together(loads_.at(id)))
        fail_load(id, *too_large, out);
  }
  settle(out);
  return out;
}

actions registry::reservation_deadline(file_id file) {
  actions out;
  auto* held = find_file(file);
  if (!held || held->state != file_state::waiting_for_bytes)
    return out;
  const auto where = tier_of_file(file);
  refuse(file, errc::timed_out,
         "waited too long for " + bytes_text(ledger(where).wanted_bytes(file)) + memory_text(where) +
             " under the limit of " + bytes_text(ledger(where).limit_bytes()) +
             "; in the way: " + holders_text(where, false),
         out);
  settle(out);
  return out;
}

/// Files of one model that can never be in memory at the same time; found out as soon as their sizes are known.
std::optional<error> registry::too_large_together(const pending_load& load) const {
  uint64_t total[std::size(both_tiers)] = {};
  for (auto file : std::set(load.files.begin(), load.files.end())) {
    const auto where = tier_of_file(file);
    const auto limit_bytes = ledger(where).limit_bytes();
    auto& sum = total[static_cast<size_t>(where)];
    const auto bytes = ledger(where).wanted_bytes(file);
    if (bytes > limit_bytes - sum)
      return error{errc::out_of_budget, "the files of '" + load.key + "' need " +
                                            bytes_text(bytes - (limit_bytes - sum)) + " or more above the limit of " +
                                            bytes_text(limit_bytes) + memory_text(where)};
    sum += bytes;
  }
  return std::nullopt;
}

/// Serves the queues for memory as far as they can be served now. Every input ends here.
void registry::settle(actions& out) {
  for (auto where : both_tiers)
    while (ledger(where).next()) {
      if (ledger(where).next_fits()) {
        const auto granted = ledger(where).grant_next();
        auto& file = files_.at(granted.file);
        file.state = file_state::reading;
        out.push_back(grant_bytes{granted.file, granted.bytes, !file.spare || !file.loads.empty()});
      } else if (ledger(where).shortfall_bytes() == 0 || !make_room(where, out)) {
        break;
      }
    }
}

/// Evicts as many files as the head of the queue lacks, or refuses the head when what is kept alone leaves no room.
/// False when it can only wait, for leases to come back or loads to end: evicting a part of the need would cost users
/// their models and help nobody.
bool registry::make_room(tier where, actions& out) {
  const auto& budget = ledger(where);
  const auto head = *budget.next();
  if (const auto kept = kept_bytes(where); head.bytes > budget.limit_bytes() - kept) {
    refuse(head.file, errc::out_of_budget,
           "needs " + bytes_text(head.bytes) + memory_text(where) + ", " +
               bytes_text(head.bytes - (budget.limit_bytes() - kept)) + " more than " + bytes_text(kept) +
               " of kept models leave of the limit of " + bytes_text(budget.limit_bytes()) + ": " +
               holders_text(where, true),
           out);
    return true;
  }
  const auto victims = evictable_oldest_first(where);
  uint64_t evictable_bytes = 0;
  for (auto file : victims)
    evictable_bytes += budget.held_bytes(file);
  if (evictable_bytes < budget.shortfall_bytes()) {
    const auto& waits = files_.at(head.file);
    if (!waits.spare || !waits.loads.empty())
      return false;
    refuse(head.file, errc::out_of_budget, "there is no memory free for a spare copy", out);
    return true;
  }
  for (auto file : victims) {
    if (budget.shortfall_bytes() == 0)
      break;
    evict(file, out);
  }
  return true;
}

void registry::evict(file_id file, actions& out) {
  const auto keys = files_.at(file).keys;  // empty when an earlier victim's entry took it along
  for (const auto& key : keys)
    remove_entry(key, out);
  counts_.evictions += keys.size();
  forget_spare(file, out);
}

actions registry::asked_back(file_id file) {
  actions out;
  auto* held = find_file(file);
  if (!held || held->state == file_state::dropping)
    return out;
  if (is_evictable(*held))
    evict(file, out);
  else
    out.push_back(keep_file{file});
  settle(out);
  return out;
}

actions registry::shed(tier where, uint64_t bytes) {
  actions out;
  uint64_t freed_bytes = 0;
  for (auto file : evictable_oldest_first(where)) {
    if (freed_bytes >= bytes)
      break;
    freed_bytes += ledger(where).held_bytes(file);
    evict(file, out);
  }
  settle(out);
  return out;
}

std::vector<file_id> registry::evictable_oldest_first(tier where) const {
  std::vector<file_id> found;
  for (const auto& [id, file] : files_)
    if (is_evictable(file) && ledger(where).held_bytes(id) > 0)
      found.push_back(id);
  std::sort(found.begin(), found.end(),
            [&](file_id a, file_id b) { return files_.at(a).last_use < files_.at(b).last_use; });
  return found;
}

bool registry::is_kept(const held_file& file) const {
  return std::any_of(file.keys.begin(), file.keys.end(), [&](const auto& key) { return entries_.at(key).kept; });
}

bool registry::is_evictable(const held_file& file) const {
  return file.state == file_state::ready && file.leases == 0 && file.loads.empty() && file.feeding.empty() &&
         !is_kept(file);
}

uint64_t registry::kept_bytes(tier where) const {
  uint64_t sum = 0;
  for (const auto& [id, file] : files_)
    if (is_kept(file))
      sum += ledger(where).held_bytes(id);
  return sum;
}

void registry::refuse(file_id file, errc code, const std::string& why, actions& out) {
  auto& held = files_.at(file);
  const auto& path = held.source.path;
  const auto reason =
      held.source.hold == hold_mode::object ? error{code, "'" + path + "' " + why} : error{code, why, path};
  const auto loads = held.loads;
  out.push_back(refuse_bytes{file, reason});
  start_dropping(file);
  for (auto id : loads)
    fail_load(id, reason, out);
}

/// Names those that hold memory and cannot be evicted, up to `max_named_holders` of them.
std::string registry::holders_text(tier where, bool only_kept) const {
  std::string text;
  size_t named = 0, unnamed = 0;
  for (const auto& [id, file] : files_) {
    const auto bytes = ledger(where).held_bytes(id);
    if (bytes == 0 || is_evictable(file) || (only_kept && !is_kept(file)))
      continue;
    if (named == limits_.max_named_holders) {
      ++unnamed;
      continue;
    }
    ++named;
    text += (text.empty() ? "" : ", ") + holder_name(file) + " with " + bytes_text(bytes);
  }
  if (unnamed > 0)
    text += " and " + std::to_string(unnamed) + " more";
  return text.empty() ? "earlier requests for memory" : text;
}

std::string registry::holder_name(const held_file& file) const {
  const char* why = file.state == file_state::dropping ? "being freed"
                    : is_kept(file)                    ? "kept"
                    : file.leases > 0                  ? "in use"
                                                       : "loading";
  auto keys = file.keys;
  for (auto id : file.loads)
    keys.insert(loads_.at(id).key);
  std::string text;
  for (const auto& key : keys)
    text += (text.empty() ? "'" : ", '") + key + "'";
  return (text.empty() ? file.source.path : text) + " (" + why + ")";
}

}  // namespace longshore
