// What becomes of loads, entries and files: the inputs from holders, leases and tickets.
#include <algorithm>

#include "cache/registry.hpp"

namespace longshore {

actions registry::give_up(ticket_id ticket) {
  actions out;
  auto found = tickets_.find(ticket);
  if (found == tickets_.end())
    return out;
  const auto id = found->second;
  const error reason{errc::cancelled, "the request was given up"};
  auto& waiters = loads_.at(id).waiters;
  if (waiters.size() == 1) {
    fail_load(id, reason, out);
  } else {
    std::erase_if(waiters, [=](const waiter& w) { return w.ticket == ticket; });
    tickets_.erase(found);
    out.push_back(fail{ticket, reason});
  }
  settle(out);
  return out;
}

actions registry::file_ready(file_id file) {
  actions out;
  auto* held = find_file(file);
  if (!held || held->state != file_state::reading)
    return out;
  held->state = file_state::ready;
  held->last_use = ++uses_;
  stop_feeding(file, out);
  const auto loads = held->loads;
  for (auto id : loads)
    if (all_ready(loads_.at(id)))
      finish_load(id, false, out);
  settle(out);
  return out;
}

actions registry::file_failed(file_id file, const error& reason) {
  actions out;
  auto* held = find_file(file);
  if (!held)
    return out;
  const auto keys = held->keys;
  const auto loads = held->loads;
  start_dropping(file);
  for (const auto& key : keys)
    remove_entry(key, out);
  for (auto id : loads)
    fail_load(id, reason, out);
  forget_file(file, out);
  settle(out);
  return out;
}

actions registry::file_dropped(file_id file) {
  actions out;
  auto* held = find_file(file);
  if (!held || held->state != file_state::dropping)
    return out;
  forget_file(file, out);
  settle(out);
  return out;
}

actions registry::lease_returned(lease_id id) {
  actions out;
  auto found = leases_.find(id);
  if (found == leases_.end())
    return out;
  const auto returned = std::move(leases_.extract(found).mapped());
  const auto now = ++uses_;
  if (auto* there = entry_of(returned)) {
    --there->leases;
    there->last_use = now;
  }
  for (auto file : std::set(returned.files.begin(), returned.files.end())) {
    auto* held = find_file(file);
    if (!held)  // its holder died under the lease
      continue;
    held->last_use = now;
    if (--held->leases == 0)
      out.push_back(lease_change{file, false});
    drop_if_unused(file, out);
  }
  settle(out);
  return out;
}

actions registry::clear() {
  actions out;
  while (!entries_.empty())
    remove_entry(std::string(entries_.begin()->first), out);
  forget_spares(out);
  settle(out);
  return out;
}

actions registry::stop() {
  stopped_ = true;
  actions out;
  while (!loads_.empty())
    fail_load(loads_.begin()->first, error{errc::stopped, "the cache is shutting down"}, out);
  while (!entries_.empty())
    remove_entry(std::string(entries_.begin()->first), out);
  forget_spares(out);
  return out;
}

bool registry::all_ready(const pending_load& load) const {
  return std::all_of(load.files.begin(), load.files.end(),
                     [&](file_id file) { return files_.at(file).state == file_state::ready; });
}

/// Takes a load and its tickets off the books. Its files are the caller's to look after.
registry::pending_load registry::take_load(load_id id) {
  auto load = std::move(loads_.extract(id).mapped());
  for (auto file : load.files)
    files_.at(file).loads.erase(id);
  for (const auto& w : load.waiters)
    tickets_.erase(w.ticket);
  return load;
}

/// A load that ends after a later one of its key has been put answers its tickets, and leaves the entry alone. The
/// generation that these tickets get is nobody's, so that they can see that the key stands for something else.
void registry::finish_load(load_id id, bool was_hit, actions& out) {
  const auto load = take_load(id);
  if (load.unshared) {
    for (const auto& w : load.waiters)
      complete_ticket(w.ticket, was_hit, load.key, load.kind, generations_.fresh(), load.files, out);
    return;
  }
  auto found = entries_.find(load.key);
  const bool is_newest = found == entries_.end() || found->second.made_by < id;
  const auto generation = is_newest ? put_entry(id, load, out) : generations_.fresh();
  for (const auto& w : load.waiters) {
    auto& there = entries_.at(load.key);
    there.kept = there.kept || w.keep;
    complete_ticket(w.ticket, was_hit, load.key, load.kind, generation, load.files, out);
  }
}

void registry::fail_load(load_id id, const error& reason, actions& out) {
  const auto load = take_load(id);
  counts_.failures += reason.code == errc::cancelled ? 0 : 1;
  for (const auto& w : load.waiters)
    out.push_back(fail{w.ticket, reason});
  for (auto file : load.files)
    drop_if_unused(file, out);
}

uint64_t registry::put_entry(load_id id, const pending_load& load, actions& out) {
  std::vector<file_id> old_files;
  entry fresh{load.kind, load.files, load.layout_tag, id, generations_.put(load.key)};
  if (auto old = entries_.find(load.key); old != entries_.end()) {
    fresh.kept = old->second.kept;
    old_files = old->second.files;
  }
  for (auto file : old_files)
    files_.at(file).keys.erase(load.key);
  for (auto file : load.files)
    files_.at(file).keys.insert(load.key);
  for (auto file : old_files)
    drop_if_unused(file, out);
  return entries_.insert_or_assign(load.key, std::move(fresh)).first->second.generation;
}

void registry::remove_entry(const std::string& key, actions& out) {
  const auto removed = std::move(entries_.extract(key).mapped());
  generations_.gone(key);
  for (auto file : removed.files)
    files_.at(file).keys.erase(key);
  for (auto file : removed.files)
    drop_if_unused(file, out);
}

void registry::complete_ticket(ticket_id ticket, bool was_hit, const std::string& key, model_kind kind,
                               uint64_t generation, const std::vector<file_id>& files, actions& out) {
  const auto id = next_lease_++;
  const auto now = ++uses_;
  counts_.hits += was_hit ? 1 : 0;
  std::vector<file_id> leased_anew;
  for (auto file : std::set(files.begin(), files.end())) {
    if (++files_.at(file).leases == 1)
      leased_anew.push_back(file);
    files_.at(file).last_use = now;
  }
  const auto& given = leases_.emplace(id, lease{key, generation, files}).first->second;
  if (auto* there = entry_of(given)) {
    ++there->leases;
    there->last_use = now;
  }
  out.push_back(complete{ticket, was_hit, key, kind, generation, files, id});
  for (auto file : leased_anew)  // whoever waits comes first
    out.push_back(lease_change{file, true});
}

/// The entry that the lease was given on; null when the key stands for something else by now.
registry::entry* registry::entry_of(const lease& held) {
  auto found = entries_.find(held.key);
  return found == entries_.end() || found->second.generation != held.generation ? nullptr : &found->second;
}

registry::held_file* registry::find_file(file_id file) {
  auto found = files_.find(file);
  return found == files_.end() ? nullptr : &found->second;
}

void registry::drop_if_unused(file_id file, actions& out) {
  const auto& held = files_.at(file);
  if (held.state == file_state::dropping || held.leases > 0 || !held.keys.empty() || !held.loads.empty() ||
      held.spare || !held.feeding.empty())
    return;
  if (held.state == file_state::ready)
    out.push_back(drop_file{file});
  else
    out.push_back(cancel_load{file});
  start_dropping(file);
}

/// From here on no load may share the file, and its bytes are on their way out.
void registry::start_dropping(file_id file) {
  auto& held = files_.at(file);
  held.state = file_state::dropping;
  ledger_of(file).start_leaving(file);
  auto usable = usable_.find(held.source);
  if (usable == usable_.end())
    return;
  usable->second.erase(file);
  if (usable->second.empty())
    usable_.erase(usable);
}

}  // namespace longshore
