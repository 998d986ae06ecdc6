#include "actors/streamed_units.hpp"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <utility>

#include <caf/send.hpp>

#include "io/load_memory.hpp"

namespace longshore {
namespace {

constexpr auto room_timeout = std::chrono::seconds{60};  // the keeper's own deadlines are shorter

void carry_out(streamed_units& streamed, const fetch_unit& order) {
  auto fetch = std::make_shared<unit_fetch>();
  fetch->unit = order.unit;
  streamed.units[order.unit].fetch = fetch;
  streamed.fetches.push_back(std::move(fetch));
}

void carry_out(streamed_units& streamed, const evict_unit& order) {
  assert(!streamed.units[order.unit].fetch);  // what is on its way arrives first
  streamed.blocks->retire(std::exchange(streamed.units[order.unit].memory, {}));
}

/// Cut at multiples of a chunk, so that none lies in two segments that are page-locked one by one.
void cut_for_copy(const byte_range& range, const plan_options& options, std::deque<chunk>& into) {
  for (auto at = range.begin_bytes; at < range.end_bytes;) {
    const auto next = std::min(range.end_bytes, (at / options.chunk_bytes + 1) * options.chunk_bytes);
    const auto overlap = std::min(options.overlap_bytes, range.end_bytes - next);
    into.push_back({.offset_bytes = at,
                    .length_bytes = next - at + overlap,
                    .path = read_path::buffered,
                    .was_resident = true,
                    .overlap_bytes = overlap});
    at = next;
  }
}

std::deque<chunk> chunks_of(const streamed_units& streamed, const layer_unit& unit) {
  const auto& file = streamed.files[unit.file];
  const auto& options = streamed.options.reading;
  std::deque<chunk> all;
  for (const auto& range : unit.ranges) {
    if (file.host_copy) {
      cut_for_copy(range, options, all);
      continue;
    }
    const auto chunks = plan_range(*file.file, range.begin_bytes, range.end_bytes, options);
    all.insert(all.end(), chunks.begin(), chunks.end());
  }
  return all;
}

void lose(caf::event_based_actor* self, streamed_units& streamed, const std::shared_ptr<unit_fetch>& fetch,
          const error& reason) {
  if (std::exchange(fetch->is_lost, true))
    return;
  streamed.units[fetch->unit].fetch = nullptr;
  std::erase(streamed.fetches, fetch);
  fetch->unsent.clear();
  auto& after = fetch->memory.after;
  after.insert(after.end(), fetch->used_until.begin(), fetch->used_until.end());
  streamed.blocks->give_back(std::exchange(fetch->memory, {}));
  streamed.lost.push_back({fetch->unit, reason});
  carry_out(self, streamed, streamed.rule->lost(fetch->unit));
}

/// Whether idle memory waits for its last uses, and `uses_are_over` comes when those of some of it are.
bool hear_when_over(caf::event_based_actor* self, streamed_units& streamed) {
  const auto events = streamed.blocks->next_to_be_over();
  if (events.empty() || streamed.hears)
    return streamed.hears;
  auto& target = *streamed.target;
  if (streamed.side_stream == 0)
    streamed.side_stream = target.make_stream().value_or(0);
  for (const auto& event : events)
    if (streamed.side_stream == 0 || !target.wait_event(streamed.side_stream, event->id()))
      return false;
  const caf::weak_actor_ptr inbox{self->ctrl()};
  const auto tells = target.when_over(streamed.side_stream, [inbox](const auto&) {
    if (auto streamer = caf::actor_cast<caf::actor>(inbox))
      caf::anon_send(streamer, uses_are_over{});
  });
  return streamed.hears = tells.has_value();
}

/// Whether room for the unit may come by itself, or from others: then there will be news.
bool waits_for_room(caf::event_based_actor* self, streamed_units& streamed, uint64_t bytes) {
  if (!streamed.sent.empty() || hear_when_over(self, streamed))
    return true;  // what is under way may leave some, as may the last uses of what is idle
  if (streamed.search != room_search::none || streamed.is_polite)
    return false;
  streamed.search = room_search::asked;
  self->request(streamed.keeper, room_timeout, need_device_room{bytes})
      .then([=](const device_room& given) { self->send(self, given); },
            [=](const caf::error&) { self->send(self, device_room{}); });
  return true;
}

/// The rule's alone: what failed copies leave to their users counts in the memory, but is nothing that it knows of.
void tell_capacity(caf::event_based_actor* self, streamed_units& streamed, uint64_t capacity_bytes) {
  streamed.capacity_bytes = capacity_bytes;
  streamed.pins_are_due = true;
  carry_out(self, streamed, streamed.rule->set_capacity(capacity_bytes));
}

/// Memory for the unit. When the device has less than the rule counts on, and nobody gives any, the rule has to do with
/// what there is. Nothing: not now, or never.
std::optional<taken_block> find_room(caf::event_based_actor* self, streamed_units& streamed,
                                     const std::shared_ptr<unit_fetch>& fetch) {
  if (streamed.search == room_search::asked)
    return std::nullopt;
  const auto bytes = streamed.plan->units[fetch->unit].layout.total_bytes();
  auto memory = streamed.blocks->take(bytes);
  if (!memory && memory.error().code != errc::out_of_budget) {
    lose(self, streamed, fetch, memory.error());
    return std::nullopt;
  }
  if (!memory && waits_for_room(self, streamed, bytes))
    return std::nullopt;
  if (!memory) {
    const auto least = streamed.rule->counts().in_use_bytes + bytes;
    const auto of_rule = streamed.blocks->bytes() - streamed.blocks->kept_bytes();
    tell_capacity(self, streamed, std::min(streamed.capacity_bytes, std::max(of_rule, least)));
    memory = streamed.blocks->take(bytes);
  }
  if (!memory && hear_when_over(self, streamed))
    return std::nullopt;
  streamed.search = room_search::none;
  if (memory)
    return std::move(*memory);
  lose(self, streamed, fetch, memory.error());
  return std::nullopt;
}

/// The host copy may go when a part of the unit is on its way already.
bool is_to_be_had(caf::event_based_actor* self, streamed_units& streamed, const std::shared_ptr<unit_fetch>& fetch) {
  const auto& file = streamed.files[streamed.plan->units[fetch->unit].file];
  if (file.host_copy || file.file)
    return true;
  lose(self, streamed, fetch, {.code = errc::stopped, .what = "the host copy is gone", .path = file.path});
  return false;
}

/// Memory for the unit, and the plan of its chunks. False: not now, or it is lost.
bool prepare(caf::event_based_actor* self, streamed_units& streamed, const std::shared_ptr<unit_fetch>& fetch) {
  auto memory = find_room(self, streamed, fetch);
  if (!memory)
    return false;
  fetch->memory = std::move(*memory);
  fetch->unsent = chunks_of(streamed, streamed.plan->units[fetch->unit]);
  fetch->unqueued = fetch->unsent.size();
  streamed.peak_bytes = std::max(streamed.peak_bytes, streamed.blocks->bytes());
  return true;
}

void arrived(caf::event_based_actor* self, streamed_units& streamed, const std::shared_ptr<unit_fetch>& fetch) {
  auto& unit = streamed.units[fetch->unit];
  unit.fetch = nullptr;
  unit.moved_in_pass = streamed.rule->counts().passes;
  unit.memory.block = std::move(fetch->memory.block);  // the uses that it waited for are over
  unit.memory.after = std::move(fetch->used_until);
  carry_out(self, streamed, streamed.rule->fetched(fetch->unit));
}

void send_chunk(caf::event_based_actor* self, streamed_units& streamed, const std::shared_ptr<unit_fetch>& fetch) {
  const auto& unit = streamed.plan->units[fetch->unit];
  const auto& file = streamed.files[unit.file];
  const auto what = fetch->unsent.front();
  fetch->unsent.pop_front();
  ++fetch->under_way;
  const auto index = streamed.next_chunk++;
  streamed.sent.emplace(index, fetch);
  if (streamed.link.since_ns == 0)
    streamed.link.since_ns = now_ns(self);
  begin_move(self, streamed.moves, index,
             {.file = file.file,
              .path = file.path,
              .what = what,
              .host_copy = file.host_copy,
              .plan = unit.layout.plan(what.offset_bytes, what.length_bytes, fetch->memory.block->address(), {},
                                       what.overlap_bytes),
              .target = fetch->memory.block,
              .order = {.after = fetch->memory.after, .mark = true}});
}

void count(streamed_units& streamed, const move_under_way& moved) {
  const auto bytes = moved.move.what.own_bytes();
  streamed.link.bytes += bytes;
  if (moved.via)
    streamed.disk_bytes += bytes;
}

layer_wait cause_of(move_stage stage) {
  switch (stage) {
    case move_stage::host_copy:
    case move_stage::copy_to_slot:
      return layer_wait::host_copy;
    case move_stage::slot:
      return layer_wait::staging;
    case move_stage::disk:
      return layer_wait::disk;
    case move_stage::link:
      return layer_wait::link;
  }
  return layer_wait::link;
}

}  // namespace

streamed_units::~streamed_units() {
  if (side_stream != 0)
    target->destroy_stream(side_stream);
}

uint64_t now_ns(caf::event_based_actor* self) {
  return static_cast<uint64_t>(std::chrono::nanoseconds{self->clock().now().time_since_epoch()}.count());
}

void carry_out(caf::event_based_actor*, streamed_units& streamed, const stream_actions& todo) {
  for (const auto& one : todo)
    std::visit([&](const auto& order) { carry_out(streamed, order); }, one);
}

void send_chunks(caf::event_based_actor* self, streamed_units& streamed) {
  while (!streamed.fetches.empty() && streamed.sent.size() < streamed.options.credits) {
    const auto fetch = streamed.fetches.front();
    if (!is_to_be_had(self, streamed, fetch))
      continue;
    if (!fetch->memory.block && !prepare(self, streamed, fetch)) {
      if (fetch->is_lost)
        continue;
      return;
    }
    if (!fetch->unsent.empty())
      send_chunk(self, streamed, fetch);
    if (!fetch->unsent.empty())
      continue;
    streamed.fetches.pop_front();
    if (fetch->under_way == 0) {  // a unit without a byte, so that no copy waited for the uses before it
      fetch->used_until = std::move(fetch->memory.after);
      arrived(self, streamed, fetch);
    }
  }
}

void chunk_over(caf::event_based_actor* self, streamed_units& streamed, move_over over) {
  over.moved.move.target.reset();  // or its memory would look used
  const auto fetch = std::move(streamed.sent.extract(over.index).mapped());
  --fetch->under_way;
  if (over.reason.code == errc{})
    count(streamed, over.moved);
  if (streamed.sent.empty())
    streamed.link.busy_ns += now_ns(self) - std::exchange(streamed.link.since_ns, 0);
  if (over.reason.code != errc{})
    lose(self, streamed, fetch, over.reason);
  if (!fetch->is_lost && fetch->under_way == 0 && fetch->unsent.empty())
    arrived(self, streamed, fetch);
}

bool chunk_stands_in_queue(streamed_units& streamed, const chunk_queued& message) {
  const auto found = streamed.sent.find(message.index);
  if (found == streamed.sent.end())
    return false;
  auto& fetch = *found->second;
  fetch.queued = message.behind;
  fetch.queued_at = ++streamed.queued;
  return --fetch.unqueued == 0;
}

void set_capacity(caf::event_based_actor* self, streamed_units& streamed, uint64_t capacity_bytes) {
  tell_capacity(self, streamed, capacity_bytes);
  streamed.blocks->set_limit(capacity_bytes);
}

void room_came(streamed_units& streamed) {
  if (streamed.search == room_search::asked)
    streamed.search = room_search::answered;
}

void prefer_what_moves(caf::event_based_actor* self, streamed_units& streamed) {
  const auto pass = streamed.rule->counts().passes;
  if (pass < 2 || !std::exchange(streamed.pins_are_due, false))  // in the first pass all of them come
    return;
  std::vector<prefer_pins> orders(streamed.files.size());
  for (unit_id u = 0; u < streamed.units.size(); ++u)
    if (streamed.units[u].moved_in_pass == pass)
      for (const auto& range : streamed.plan->units[u].ranges)
        orders[streamed.plan->units[u].file].ranges.push_back({range.begin_bytes, range.end_bytes - range.begin_bytes});
  for (size_t i = 0; i < orders.size(); ++i)
    if (streamed.files[i].host_copy && !orders[i].ranges.empty())
      self->send(streamed.files[i].host_copy, std::move(orders[i]));
}

bool is_usable(const streamed_units& streamed, uint32_t layer, bool on_device) {
  const auto& units = streamed.plan->layers[layer].units;
  return std::all_of(units.begin(), units.end(), [&](auto u) {
    const auto& unit = streamed.units[u];
    return unit.memory.block || (on_device && unit.fetch && unit.fetch->queued && unit.fetch->unqueued == 0);
  });
}

layer_wait cause_now(const streamed_units& streamed, uint32_t layer) {
  for (auto u : streamed.plan->layers[layer].units) {
    const auto& unit = streamed.units[u];
    if (unit.memory.block)
      continue;
    if (!unit.fetch || !unit.fetch->memory.block)
      return layer_wait::memory;
    auto cause = layer_wait::link;
    for (const auto& [index, fetch] : streamed.sent)
      if (fetch == unit.fetch)
        cause = std::min(cause, cause_of(streamed.moves.under_way.at(index).stage));
    return cause;
  }
  return layer_wait::none;
}

void used_until(streamed_units& streamed, const layer_released& use) {
  const auto& units = streamed.plan->layers[use.layer].units;
  for (size_t i = 0; i < units.size(); ++i) {
    if (use.blocks[i] != streamed.block(units[i])) {  // its copy failed after all
      streamed.blocks->used_until(use.blocks[i], use.last_use);
      continue;
    }
    auto& unit = streamed.units[units[i]];
    auto& uses = unit.fetch ? unit.fetch->used_until : unit.memory.after;
    if (uses.size() > 4)  // of several streams, or of one that runs far behind
      std::erase_if(uses, [](const auto& event) { return event->is_over().value_or(false); });
    uses.push_back(use.last_use);
  }
}

double take_link_rate(streamed_units& streamed) {
  const auto busy_ns = std::exchange(streamed.link.busy_ns, 0);
  const auto bytes = std::exchange(streamed.link.bytes, 0);
  return busy_ns == 0 ? 0 : static_cast<double>(bytes) * 1e9 / static_cast<double>(busy_ns);
}

}  // namespace longshore
