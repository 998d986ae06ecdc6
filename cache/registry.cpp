#include "cache/registry.hpp"

#include <algorithm>
#include <cassert>

#include "cache/nearest.hpp"

namespace longshore {

registry::registry(registry_limits limits)
    : limits_(limits),
      host_ledger_(limits.host_limit_bytes),
      device_ledger_(limits.device_limit_bytes),
      generations_(limits.max_tombstones) {}

actions registry::get(const get_request& request) {
  assert(!tickets_.contains(request.ticket));
  actions out;
  const bool names_object = std::any_of(request.files.begin(), request.files.end(),
                                        [](const file_source& file) { return file.hold == hold_mode::object; });
  auto problem = names_object ? error{errc::bad_argument, "an object is put, not loaded"} : objection(request);
  if (problem) {
    out.push_back(fail{request.ticket, *problem});
  } else if (is_hit(request)) {
    hit(request, out);
  } else if (auto load = joinable_load(request)) {
    join(*load, request, out);
  } else if (request.mode == cache_mode::read_only) {
    ++counts_.misses;
    out.push_back(fail{request.ticket, not_found(request.key)});
  } else {
    begin_load(request, out);
  }
  settle(out);
  return out;
}

actions registry::put(const put_request& wanted) {
  assert(!tickets_.contains(wanted.ticket));
  actions out;
  // The number of the file that it becomes makes it like no other.
  const file_source object{
      .path = wanted.key, .identity = {.inode = next_file_, .size_bytes = wanted.bytes}, .hold = hold_mode::object};
  const get_request request{.ticket = wanted.ticket,
                            .key = wanted.key,
                            .kind = wanted.kind,
                            .mode = wanted.mode,
                            .files = {object},
                            .keep = wanted.keep,
                            .urgent = true};
  const bool replaces = wanted.mode == cache_mode::automatic || wanted.mode == cache_mode::override_cache;
  auto problem = replaces ? objection(request)
                          : error{errc::bad_argument, "nothing is put under '" + wanted.key + "' in the mode " +
                                                          std::string(name(wanted.mode))};
  if (problem)
    out.push_back(fail{wanted.ticket, *problem});
  else
    begin_load(request, out);
  settle(out);
  return out;
}

std::optional<error> registry::objection(const get_request& request) const {
  if (stopped_)
    return error{errc::stopped, "the cache is shutting down"};
  if (request.key.empty())
    return error{errc::bad_argument, "a request to the cache needs a key"};
  if (request.mode != cache_mode::read_only && request.files.empty())
    return error{errc::bad_argument, "a request that may load '" + request.key + "' needs at least one file"};
  if (request.mode == cache_mode::override_cache || request.mode == cache_mode::unshared)
    return std::nullopt;
  if (auto kind = kind_of(request.key); kind && *kind != request.kind && !request.any_kind)
    return error{errc::wrong_kind, "'" + request.key + "' is a " + std::string(name(*kind)) + ", not a " +
                                       std::string(name(request.kind))};
  return std::nullopt;
}

std::optional<error> registry::no_room_to_wait() const {
  if (tickets_.size() < limits_.max_waiting_tickets)
    return std::nullopt;
  return error{errc::overloaded, std::to_string(tickets_.size()) + " requests wait for loads already"};
}

std::optional<model_kind> registry::kind_of(const std::string& key) const {
  if (auto found = entries_.find(key); found != entries_.end())
    return found->second.kind;
  auto newest = std::find_if(loads_.rbegin(), loads_.rend(),
                             [&](const auto& l) { return l.second.key == key && !l.second.unshared; });
  return newest == loads_.rend() ? std::nullopt : std::optional(newest->second.kind);
}

bool registry::same_files(const std::vector<file_id>& files, const get_request& request) const {
  return std::equal(
      files.begin(), files.end(), request.files.begin(), request.files.end(),
      [&](file_id file, const file_source& wanted) { return wanted.is_satisfied_by(files_.at(file).source); });
}

bool registry::is_hit(const get_request& request) const {
  auto found = entries_.find(request.key);
  if (found == entries_.end() || request.mode == cache_mode::override_cache || request.mode == cache_mode::unshared)
    return false;
  const auto& there = found->second;
  return request.mode == cache_mode::read_only ||
         (there.layout_tag == request.layout_tag && same_files(there.files, request));
}

std::optional<registry::load_id> registry::joinable_load(const get_request& request) const {
  if (request.mode == cache_mode::override_cache || request.mode == cache_mode::unshared)
    return std::nullopt;
  const auto fits = [&](const pending_load& load) {
    if (load.key != request.key || (load.kind != request.kind && !request.any_kind) || load.unshared)
      return false;
    return request.mode == cache_mode::read_only ||
           (load.layout_tag == request.layout_tag && same_files(load.files, request));
  };
  auto newest = std::find_if(loads_.rbegin(), loads_.rend(), [&](const auto& l) { return fits(l.second); });
  return newest == loads_.rend() ? std::nullopt : std::optional(newest->first);
}

void registry::hit(const get_request& request, actions& out) {
  auto& there = entries_.at(request.key);
  there.kept = there.kept || request.keep;
  complete_ticket(request.ticket, true, request.key, there.kind, there.generation, there.files, out);
}

void registry::join(load_id id, const get_request& request, actions& out) {
  if (auto problem = no_room_to_wait()) {
    out.push_back(fail{request.ticket, *problem});
    return;
  }
  auto& load = loads_.at(id);
  load.waiters.push_back({request.ticket, request.keep});
  tickets_.emplace(request.ticket, id);
  if (request.urgent)
    hurry(load.files, out);
}

void registry::begin_load(const get_request& request, actions& out) {
  auto problem = no_room_to_wait();
  if (loads_.size() >= limits_.max_pending_loads)
    problem = error{errc::overloaded, std::to_string(loads_.size()) + " models are being loaded already"};
  else if (entries_.size() + loads_.size() >= limits_.max_entries)
    problem = error{errc::overloaded, "the cache has " + std::to_string(entries_.size()) +
                                          " entries, as many as it may; remove some first"};
  if (problem) {
    out.push_back(fail{request.ticket, *problem});
    return;
  }
  const auto id = next_load_++;
  const auto first_new = next_file_;
  pending_load load{request.key, request.kind, {}, request.layout_tag, {{request.ticket, request.keep}}};
  load.unshared = request.mode == cache_mode::unshared;
  for (const auto& source : request.files) {
    load.files.push_back(pick_file(source, request, first_new, out));
    files_.at(load.files.back()).loads.insert(id);
  }
  const auto& begun = loads_.emplace(id, std::move(load)).first->second;
  tickets_.emplace(request.ticket, id);
  if (all_ready(begun)) {
    finish_load(id, true, out);
    return;
  }
  ++(request.files.front().hold == hold_mode::object ? counts_.puts : counts_.misses);
  if (auto too_large = too_large_together(begun))
    fail_load(id, *too_large, out);
  else if (request.urgent)
    hurry(begun.files, out);
}

file_id registry::usable_file(const file_source& source, file_id oldest_allowed) const {
  for (auto hold : {source.hold, hold_mode::pinned, hold_mode::owned, hold_mode::mapped}) {
    const auto held = usable_.find({.path = {}, .identity = source.identity, .hold = hold, .cast_to = source.cast_to});
    if (held != usable_.end() && source.is_satisfied_by(held->first) && *held->second.rbegin() >= oldest_allowed)
      return *held->second.rbegin();
  }
  return 0;
}

/// The newest holder of this source, or a new one. An override shares only with itself: files from `first_new` on.
file_id registry::pick_file(const file_source& source, const get_request& request, file_id first_new, actions& out) {
  const bool unshared = request.mode == cache_mode::unshared;
  const auto oldest_allowed = request.mode == cache_mode::override_cache ? first_new : 0;
  if (const auto shared = unshared ? file_id{0} : usable_file(source, oldest_allowed); shared != 0)
    return shared;
  const auto copy =
      tier_of(source.hold) == tier::device ? host_copy_for(source, request, oldest_allowed, out) : file_id{0};
  const auto file = next_file_++;
  if (!unshared)
    usable_[source].insert(file);
  files_.emplace(file, held_file{.source = source, .urgent = request.urgent, .host_copy = copy});
  if (copy != 0)
    files_.at(copy).feeding.insert(file);
  out.push_back(start_load{.file = file, .source = source, .urgent = request.urgent, .host_copy = copy});
  return file;
}

void registry::hurry(const std::vector<file_id>& files, actions& out) {
  for (auto id : files) {
    hurry(id, out);
    if (auto copy = files_.at(id).host_copy; copy != 0)
      hurry(copy, out);
  }
}

void registry::hurry(file_id id, actions& out) {
  auto& file = files_.at(id);
  if (file.urgent || file.state == file_state::ready || file.state == file_state::dropping)
    return;
  file.urgent = true;
  out.push_back(promote{id});
}

error registry::not_found(const std::string& key) const {
  std::set<std::string> known;
  for (const auto& [present, unused] : entries_)
    known.insert(present);
  for (const auto& [id, load] : loads_)
    if (!load.unshared)
      known.insert(load.key);
  std::string text = "nothing is cached under '" + key + "'";
  const char* before = "; the nearest keys: '";
  for (const auto& near : nearest(key, std::vector<std::string>(known.begin(), known.end()))) {
    text += before + near + "'";
    before = ", '";
  }
  return error{errc::not_found, text};
}

expected<actions> registry::remove(const std::string& key) {
  if (!entries_.contains(key))
    return unexpected(not_found(key));
  actions out;
  const auto files = entries_.at(key).files;
  remove_entry(key, out);
  for (auto file : files)
    forget_spare(files_.at(file).host_copy, out);
  settle(out);
  return out;
}

expected<actions> registry::keep(const std::string& key, bool kept) {
  auto found = entries_.find(key);
  if (found == entries_.end())
    return unexpected(not_found(key));
  found->second.kept = kept;
  actions out;
  settle(out);  // what is kept no longer may be just what someone waits for
  return out;
}

std::vector<entry_info> registry::list() const {
  std::vector<entry_info> all;
  for (const auto& [key, e] : entries_) {
    auto& info = all.emplace_back(entry_info{key, e.kind, e.generation, 0, 0, e.leases, e.kept, e.files, e.last_use,
                                             files_.at(e.files.front()).source.hold});
    for (auto file : std::set(e.files.begin(), e.files.end())) {
      info.size_bytes += files_.at(file).source.identity.size_bytes;
      info.reserved_bytes += ledger_of(file).held_bytes(file);
    }
  }
  return all;
}

uint64_t registry::generation(const std::string& key) const {
  auto found = entries_.find(key);
  return found == entries_.end() ? generations_.of_absent(key) : found->second.generation;
}

bool registry::has_unleased_files() const {
  return std::any_of(files_.begin(), files_.end(), [](const auto& file) { return file.second.leases == 0; });
}

}  // namespace longshore
