#include "registry_world.hpp"

#include <algorithm>

#include <rapidcheck.h>

// RC_ASSERT evaluates both sides of a bare || or &&: such conditions stand in brackets of their own.
namespace longshore {

void registry_world::get(get_request request) {
  request.ticket = next_ticket_++;
  open_tickets_.insert(request.ticket);
  const auto there = before_.find(request.key);
  const bool must_hit = !stopped_ && request.mode == cache_mode::read_only && there != before_.end() &&
                        there->second.kind == request.kind;
  mode_ = request.mode;
  carry_out(cache_.get(request));
  mode_ = cache_mode::automatic;
  RC_ASSERT((!must_hit || !open_tickets_.contains(request.ticket)));
  RC_ASSERT((request.mode != cache_mode::read_only || !open_tickets_.contains(request.ticket) ||
             cache_.pending_load_count() > 0u));
}

void registry_world::put(put_request request) {
  request.ticket = next_ticket_++;
  open_tickets_.insert(request.ticket);
  const auto begun = seen_.puts;
  carry_out(cache_.put(request));
  RC_ASSERT(open_tickets_.contains(request.ticket) == (seen_.puts > begun));
  const bool replaces = request.mode == cache_mode::automatic || request.mode == cache_mode::override_cache;
  RC_ASSERT((replaces || seen_.puts == begun));
}

void registry_world::give_up(size_t which) {
  if (open_tickets_.empty())
    return;
  const auto ticket = *std::next(open_tickets_.begin(), static_cast<long>(which % open_tickets_.size()));
  carry_out(cache_.give_up(ticket));
  RC_ASSERT(!open_tickets_.contains(ticket));
}

void registry_world::return_lease(size_t which) {
  if (leases_.empty())
    return;
  const auto lease = std::next(leases_.begin(), static_cast<long>(which % leases_.size()));
  const auto [id, files] = *lease;
  leases_.erase(lease);
  for (auto file : files)
    if (auto found = holders_.find(file); found != holders_.end())
      --found->second.leases;
  carry_out(cache_.lease_returned(id));
}

void registry_world::remove(const std::string& key) {
  auto result = cache_.remove(key);
  RC_ASSERT(result.has_value() == before_.contains(key));
  carry_out(result.value_or(actions{}), {key});
}

void registry_world::keep(const std::string& key, bool kept) {
  auto result = cache_.keep(key, kept);
  RC_ASSERT(result.has_value() == before_.contains(key));
  if (result)
    before_.at(key).kept = kept;
  carry_out(result.value_or(actions{}));
}

void registry_world::clear() {
  carry_out(cache_.clear(), all_keys());
  RC_ASSERT(cache_.list().empty());
}

void registry_world::stop() {
  stopped_ = true;
  carry_out(cache_.stop(), all_keys());
  RC_ASSERT(open_tickets_.empty());
}

void registry_world::advance(size_t which, uint64_t bytes) {
  if (holders_.empty())
    return;
  const auto id = nth_holder(which);
  auto& h = holders_.at(id);
  switch (h.state) {
    case phase::opening:
      h.state = phase::asked;
      h.asked_bytes = h.source.hold == hold_mode::mapped   ? 0
                      : h.source.hold == hold_mode::object ? h.source.identity.size_bytes
                                                           : bytes;
      asking_.push_back(id);
      return carry_out(cache_.file_opened(id, h.asked_bytes));
    case phase::reading:
      h.state = phase::ready;
      return carry_out(cache_.file_ready(id));
    case phase::ending:  // what it said before it knew of its last order comes first
      RC_ASSERT(cache_.file_opened(id, bytes).empty());
      RC_ASSERT(cache_.file_ready(id).empty());
      holders_.erase(id);
      return carry_out(cache_.file_dropped(id));
    case phase::asked:
    case phase::ready:
      return;
  }
}

void registry_world::break_down(size_t which) {
  if (holders_.empty())
    return;
  const auto id = nth_holder(which);
  holders_.erase(id);
  std::erase(asking_, id);
  carry_out(cache_.file_failed(id, {errc::io_failed, "broke down"}), {}, id);
}

void registry_world::deadline(size_t which) {
  if (asking_.empty())
    return;
  const auto id = asking_.at(which % asking_.size());
  carry_out(cache_.reservation_deadline(id));
  RC_ASSERT(holders_.at(id).state == phase::ending);
}

void registry_world::drain() {
  while (!open_tickets_.empty() || !leases_.empty() || !holders_.empty() || !before_.empty()) {
    const auto busy = std::find_if(holders_.begin(), holders_.end(), [](const auto& h) {
      return h.second.state != phase::asked && h.second.state != phase::ready;
    });
    if (busy != holders_.end())
      advance(static_cast<size_t>(std::distance(holders_.begin(), busy)), 1);
    else if (!leases_.empty())
      return_lease(0);
    else if (!asking_.empty())
      deadline(0);
    else if (!before_.empty())
      clear();
    else
      RC_FAIL("something is left that nothing can end");
  }
  RC_ASSERT(cache_.used_bytes() == 0u);
  RC_ASSERT(cache_.file_count() == 0u);
  RC_ASSERT(cache_.pending_load_count() == 0u);
}

void registry_world::carry_out(const actions& all, const keys& taken, file_id broken) {
  for (const auto& one : all) {
    std::visit([&](const auto& order) { obey(order); }, one);
    check_memory();
  }
  check_memory();
  check_entries(taken, broken);
  check_counts();
}

void registry_world::obey(const start_load& order) {
  for (const auto& [id, h] : holders_)
    RC_ASSERT((mode_ == cache_mode::override_cache || mode_ == cache_mode::unshared || h.unshared ||
               h.state == phase::ending || !(h.source == order.source)));
  RC_ASSERT(
      holders_.emplace(order.file, holder{.source = order.source, .unshared = mode_ == cache_mode::unshared}).second);
  seen_.puts += order.source.hold == hold_mode::object ? 1 : 0;
}

void registry_world::obey(const grant_bytes& order) {
  auto& h = holders_.at(order.file);
  RC_ASSERT((h.state == phase::asked && h.asked_bytes == order.bytes));
  const bool is_first = std::all_of(asking_.begin(), std::find(asking_.begin(), asking_.end(), order.file),
                                    [&](file_id earlier) { return holders_.at(earlier).asked_bytes == 0; });
  RC_ASSERT((order.bytes == 0u || is_first));
  std::erase(asking_, order.file);
  h.state = phase::reading;
  h.real_bytes = order.bytes;
}

void registry_world::obey(const refuse_bytes& order) {
  auto& h = holders_.at(order.file);
  RC_ASSERT(h.state == phase::asked);
  std::erase(asking_, order.file);
  h.state = phase::ending;
}

void registry_world::obey(const promote& order) {
  const auto state = holders_.at(order.file).state;
  RC_ASSERT((state != phase::ready && state != phase::ending));
}

/// Comes with each change, when the answers that make it have been given.
void registry_world::obey(const lease_change& order) {
  const auto& h = holders_.at(order.file);
  RC_ASSERT((h.state == phase::ready && order.leased == (h.leases > 0)));
}

void registry_world::obey(const keep_file& order) { RC_ASSERT(holders_.at(order.file).state != phase::ending); }

void registry_world::obey(const cancel_load& order) {
  auto& h = holders_.at(order.file);
  RC_ASSERT((h.state != phase::ready && h.state != phase::ending));
  std::erase(asking_, order.file);
  h.state = phase::ending;
}

void registry_world::obey(const drop_file& order) {
  auto& h = holders_.at(order.file);
  RC_ASSERT((h.state == phase::ready && h.leases == 0u));
  h.state = phase::ending;
}

void registry_world::obey(const complete& answer) {
  RC_ASSERT(open_tickets_.erase(answer.ticket) == 1u);
  seen_.hits += answer.hit ? 1 : 0;
  for (auto file : answer.files) {
    auto& h = holders_.at(file);
    RC_ASSERT((h.state == phase::ready && (!h.unshared || h.leases == 0u)));
    ++h.leases;
  }
  RC_ASSERT(leases_.emplace(answer.lease, answer.files).second);
}

void registry_world::obey(const fail& answer) { RC_ASSERT(open_tickets_.erase(answer.ticket) == 1u); }

void registry_world::check_memory() const {
  uint64_t real = 0;
  for (const auto& [id, h] : holders_)
    real += h.real_bytes;
  RC_ASSERT(real <= limit_bytes_);
}

/// Between two steps: the sums agree, no one waits who fits, entries are made of ready files, what is kept stays, and a
/// generation moves if and only if its key does.
void registry_world::check_entries(const keys& taken, file_id broken) {
  uint64_t real = 0;
  for (const auto& [id, h] : holders_)
    real += h.real_bytes;
  RC_ASSERT(real == cache_.used_bytes());
  RC_ASSERT((asking_.empty() || real + holders_.at(asking_.front()).asked_bytes > limit_bytes_));

  std::map<std::string, entry_info> now;
  for (const auto& e : cache_.list()) {
    for (auto file : e.files)
      RC_ASSERT((holders_.at(file).state == phase::ready && !holders_.at(file).unshared));
    now.emplace(e.key, e);
  }
  for (const auto& [key, old] : before_) {
    const bool lost_a_file = std::count(old.files.begin(), old.files.end(), broken) > 0;
    const bool excused = taken.contains(key) || lost_a_file;
    RC_ASSERT((!old.kept || excused || (now.contains(key) && now.at(key).kept)));
    seen_.evictions += excused || now.contains(key) ? 0 : 1;
  }
  for (auto& [key, generation] : generations_before_) {
    const bool same = before_.contains(key) == now.contains(key) &&
                      (!now.contains(key) || (before_.at(key).generation == now.at(key).generation &&
                                              before_.at(key).files == now.at(key).files));
    const auto moved_to = cache_.generation(key);
    RC_ASSERT(same == (moved_to == generation));
    RC_ASSERT(moved_to >= generation);
    generation = moved_to;
  }
  for (const auto& [key, e] : now)
    generations_before_.try_emplace(key, e.generation);
  before_ = std::move(now);
}

/// The registry's counters against what this world saw, and none of them ever goes down.
void registry_world::check_counts() {
  const auto& now = cache_.counts();
  RC_ASSERT(now.hits == seen_.hits);
  RC_ASSERT(now.puts == seen_.puts);
  RC_ASSERT(now.evictions == seen_.evictions);
  RC_ASSERT((now.misses >= counts_before_.misses && now.failures >= counts_before_.failures));
  counts_before_ = now;
}

registry_world::keys registry_world::all_keys() const {
  keys all;
  for (const auto& [key, e] : before_)
    all.insert(key);
  return all;
}

file_id registry_world::nth_holder(size_t which) const {
  return std::next(holders_.begin(), static_cast<long>(which % holders_.size()))->first;
}

}  // namespace longshore
