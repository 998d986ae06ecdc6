#include "actors/cast_holder.hpp"

#include <algorithm>
#include <cassert>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include <caf/actor_system.hpp>
#include <caf/send.hpp>

#include "actors/file_load.hpp"
#include "actors/host_holding.hpp"
#include "actors/traced_actor.hpp"
#include "io/model_source.hpp"
#include "messages/cast.hpp"
#include "messages/slot.hpp"

namespace longshore {
namespace {

constexpr size_t chunks_per_caster = 2;  // one at work, and the next one at hand

/// A chunk between the file and its place.
struct chunk_on_its_way {
  std::shared_ptr<const staging_slot> slot;  // while it is read into
  bool is_read = false;
  std::optional<size_t> caster;  // once one has it
};

struct holder_state {
  static constexpr const char* name = "cast_holder";
  file_load load;
  host_holding holding;
  std::shared_ptr<const host_cast> cast;
  std::unordered_map<uint32_t, chunk_on_its_way> chunks;
  std::vector<size_t> busy;  // chunks that each caster has
};

using holder_actor = traced_actor<holder_state>;

void end_when_idle(holder_actor* self) {
  auto& state = self->state;
  if (state.load.in_flight > 0 || state.load.opening || !state.load.is_ending())
    return;
  state.holding = {};
  state.load.opened.reset();
  say_ended(self, state.load);
}

void fail(holder_actor* self, error reason) {
  auto& load = self->state.load;
  if (!load.has_failed())
    load.failure = std::move(reason);
  load.next_chunk = load.plan.size();
  if (load.in_flight > 0) {
    self->send(load.services.reader, cancel_reads{load.file});
    self->send(load.services.casting.stager, cancel_borrows{load.file});
  }
  end_when_idle(self);
}

void drop(holder_actor* self) {
  self->state.load.dropping = true;
  fail(self, {.code = errc::cancelled, .what = "the load was cancelled", .path = self->state.load.source.path});
}

expected<std::shared_ptr<const host_cast>> cast_for(const file_load& load) {
  const auto refused = [&](errc code, std::string what) {
    return unexpected(error{.code = code, .what = std::move(what), .path = load.source.path});
  };
  if (load.services.casting.casters.empty())
    return refused(errc::unsupported, "there is nobody to cast weights in host memory");
  const auto rule = cast_rule::parse(load.source.cast_to);
  if (!rule)
    return refused(rule.error().code, rule.error().what);
  if (load.source.hold == hold_mode::mapped)
    return refused(errc::bad_argument, "weights that are cast need memory of their own and cannot be mapped");
  return std::make_shared<const host_cast>(*load.opened->header, *rule);
}

void want_memory(holder_actor* self) {
  const auto& load = self->state.load;
  const auto bytes = std::max(arena_pool::granule_bytes, arena_pool::rounded(self->state.cast->total_bytes()));
  report_progress(self, load, load_stage::waiting_for_memory);
  self->send(load.registry, file_opened{load.file, bytes});
}

void opened(holder_actor* self, const open_result& result) {
  auto& load = self->state.load;
  const auto problem = take_opened(load, result);
  if (load.has_failed())
    return end_when_idle(self);
  if (problem)
    return fail(self, *problem);
  auto cast = cast_for(load);
  if (!cast)
    return fail(self, cast.error());
  self->state.cast = std::move(*cast);
  open_account_for(self, load, self->state.holding, [=](const expected<void>& done) {
    if (self->state.load.is_ending())
      return;
    if (done)
      want_memory(self);
    else
      fail(self, done.error());
  });
}

/// What its reader need not wait for the disk for.
bool is_in_page_cache(const chunk& c) { return c.path == read_path::buffered && c.was_resident; }

size_t least_busy_caster(const holder_state& state) {
  return static_cast<size_t>(std::min_element(state.busy.begin(), state.busy.end()) - state.busy.begin());
}

void send_to_caster(holder_actor* self, uint32_t index) {
  auto& state = self->state;
  const auto& load = state.load;
  auto& chunk = state.chunks.at(index);
  const auto caster = least_busy_caster(state);
  ++state.busy[caster];
  chunk.caster = caster;
  cast_chunk order{.load = load.file,
                   .index = index,
                   .what = load.plan[index],
                   .source = chunk.slot ? chunk.slot->data() : nullptr,
                   .fd = load.opened->file.fd(),
                   .destination = state.holding.data,
                   .how = state.cast,
                   .memory = load.opened,
                   .target = state.holding.bytes};
  if (chunk.slot)
    order.memory = std::exchange(chunk.slot, nullptr);
  self->send(load.services.casting.casters[caster], std::move(order));
}

/// A chunk's first step: to a caster that finds it in the page cache, or to a slot that it can be read into.
void send_chunks(holder_actor* self) {
  auto& state = self->state;
  auto& load = state.load;
  while (load.next_chunk < load.plan.size() && load.in_flight < load.services.options.credits) {
    const auto index = static_cast<uint32_t>(load.next_chunk);
    const bool at_hand = is_in_page_cache(load.plan[index]);
    if (at_hand && state.busy[least_busy_caster(state)] >= chunks_per_caster)
      return;
    ++load.next_chunk;
    ++load.in_flight;
    state.chunks.emplace(index, chunk_on_its_way{});
    if (at_hand)
      send_to_caster(self, index);
    else
      self->send(load.services.casting.stager, borrow_slot{load.file, index, load.urgent});
  }
}

void go_on(holder_actor* self) {
  auto& state = self->state;
  if (state.holding.is_ready())
    return;
  send_chunks(self);
  if (state.load.in_flight > 0 || state.holding.pins.asks())
    return;
  if (auto done = finish_load(self, state.load, state.holding); !done)
    fail(self, done.error());
}

/// The memory of what the disk has to give is brought in while it does; what is at hand is not worth a thread.
void touch_ahead(load_memory& memory, const file_load& load, const host_cast& cast) {
  std::vector<std::span<std::byte>> ranges;
  for (const auto& c : load.plan) {
    const auto begin = cast.place_of(c.offset_bytes), end = cast.place_of(c.offset_bytes + c.own_bytes());
    if (!is_in_page_cache(c) && begin < end)
      ranges.emplace_back(memory.data() + begin, end - begin);
  }
  memory.touch_ahead(std::move(ranges));
}

void start_reading(holder_actor* self, std::shared_ptr<const pin_hold> leave) {
  auto& state = self->state;
  auto& load = state.load;
  end_wait(load);
  auto memory =
      load_memory::laid_out(load.opened, *load.services.pool, state.cast->header(), state.cast->total_bytes());
  if (!memory)
    return fail(self, memory.error());
  load.plan = plan_chunks(*load.opened, planning(load));
  if (load.services.options.open_on_own_thread)
    touch_ahead(**memory, load, *state.cast);
  std::vector<uint64_t> ends;
  for (const auto& c : load.plan)
    ends.push_back(state.cast->place_of(c.offset_bytes + c.own_bytes()));
  take_memory(load, state.holding, std::move(leave), std::move(*memory), std::move(ends));
  report_progress(self, load, load_stage::reading);
  go_on(self);
}

void granted(holder_actor* self, const grant_bytes& grant) {
  if (self->state.load.is_ending())
    return;
  ask_for_leave(self, self->state.load, self->state.holding, grant,
                [=](const expected<std::shared_ptr<const pin_hold>>& leave) {
                  if (self->state.load.is_ending())
                    return;
                  if (leave)
                    start_reading(self, *leave);
                  else
                    fail(self, leave.error());
                });
}

/// A chunk is under way no more, wherever it was.
void take_back(holder_actor* self, uint32_t index) {
  auto& state = self->state;
  const auto chunk = std::move(state.chunks.extract(index).mapped());
  if (chunk.caster)
    --state.busy[*chunk.caster];
  assert(state.load.in_flight > 0);
  --state.load.in_flight;
}

void gave_up_one(holder_actor* self, uint32_t index) {
  take_back(self, index);
  end_when_idle(self);
}

/// What a read for a slot needs to live on: the descriptors, and the slot.
struct slot_read {
  std::shared_ptr<const opened_file> opened;
  std::shared_ptr<const staging_slot> slot;
};

void slot_came(holder_actor* self, const slot_lent& lent) {
  auto& state = self->state;
  auto& load = state.load;
  if (load.is_ending())
    return gave_up_one(self, lent.index);
  if (lent.slot) {
    state.chunks.at(lent.index).slot = lent.slot;
    return send_read(self, load, lent.index, lent.slot->data(),
                     std::make_shared<const slot_read>(slot_read{load.opened, lent.slot}));
  }
  if (lent.reason.code == errc::out_of_budget || lent.reason.code == errc::timed_out)
    return send_to_caster(self, lent.index);
  take_back(self, lent.index);
  fail(self, lent.reason);
}

void chunk_came(holder_actor* self, const chunk_read& done) {
  auto& load = self->state.load;
  span_bytes = load.plan[done.index].length_bytes;
  if (load.is_ending())
    return gave_up_one(self, done.index);
  count_read(load, done);
  self->state.chunks.at(done.index).is_read = true;
  send_to_caster(self, done.index);
}

void chunk_done(holder_actor* self, const chunk_cast& done) {
  auto& state = self->state;
  auto& load = state.load;
  span_bytes = load.plan[done.index].own_bytes();
  const bool caster_read = !state.chunks.at(done.index).is_read;
  take_back(self, done.index);
  if (load.is_ending())
    return end_when_idle(self);
  if (caster_read)
    count_read(load, {load.file, done.index, read_path::buffered});
  count_done(self, load, done.index);
  chunk_came_in(self, load, state.holding, done.index, [=] { go_on(self); });
  go_on(self);
}

void chunk_lost(holder_actor* self, const chunk_failed& lost) {
  take_back(self, lost.index);
  fail(self, reason_of(*self->state.load.opened, self->state.load.source.path, lost));
}

void partner_gone(holder_actor* self, const caf::down_msg& down) {
  auto& state = self->state;
  auto& load = state.load;
  const auto& services = load.services;
  if (down.source == load.registry.address())
    return self->quit();  // nobody is left to tell; reads and casts in flight keep their memory
  auto partners = services.casting.all();
  partners.push_back(services.reader);
  const bool is_partner = std::any_of(partners.begin(), partners.end(),
                                      [&](const auto& partner) { return down.source == partner.address(); });
  if (is_partner) {
    if (state.holding.is_ready())
      return;            // the load is over: what is in memory needs nobody
    load.in_flight = 0;  // not all of them will be answered; their memory lives in the messages
    state.chunks.clear();
    return fail(self, partner_lost(load));
  }
  if (auto reason = opener_lost(load))
    fail(self, *reason);
}

caf::behavior holder_behavior(holder_actor* self, const caf::actor& registry, const start_load& order,
                              const holder_services& services) {
  auto& state = self->state;
  begin_load(self, state.load, registry, order, services);
  state.busy.assign(services.casting.casters.size(), 0);
  for (const auto& partner : services.casting.all())
    self->monitor(partner);
  self->set_down_handler([=](const caf::down_msg& down) { partner_gone(self, down); });
  return {
      [=](const open_result& result) { opened(self, result); },
      [=](const grant_bytes& grant) { granted(self, grant); },
      [=](const refuse_bytes&) { drop(self); },
      [=](const cancel_load&) { drop(self); },
      [=](const drop_file&) { drop(self); },
      [=](const promote&) {
        auto& load = self->state.load;
        load.urgent = true;
        self->send(load.services.reader, hurry_reads{load.file});
        self->send(load.services.casting.stager, hurry_borrows{load.file});
      },
      [=](const slot_lent& lent) { slot_came(self, lent); },
      [=](const chunk_read& done) { chunk_came(self, done); },
      [=](const chunk_cast& done) { chunk_done(self, done); },
      [=](const chunk_failed& lost) { chunk_lost(self, lost); },
      [=](const chunk_cancelled& cancelled) { gave_up_one(self, cancelled.index); },
      [=](const pressure& order_back) { give_back(self, self->state.load, self->state.holding, order_back); },
      [=](const pressure_over&) { self->state.holding.pins_owed_bytes = 0; },
      [=](const lease_change& change) { use_account(self, self->state.load, self->state.holding, change.leased); },
      [=](const keep_file&) { self->send(self->state.load.services.arbiter, decline{self->state.holding.account}); },
  };
}

}  // namespace

caf::actor spawn_cast_holder(caf::local_actor* registry, const start_load& order, const holder_services& services) {
  return registry->home_system().spawn(holder_behavior, caf::actor_cast<caf::actor>(registry), order, services);
}

}  // namespace longshore
