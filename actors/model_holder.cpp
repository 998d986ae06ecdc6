#include "actors/model_holder.hpp"

#include <cassert>
#include <utility>
#include <vector>

#include <caf/actor_system.hpp>
#include <caf/send.hpp>

#include "actors/file_load.hpp"
#include "actors/host_holding.hpp"
#include "actors/traced_actor.hpp"
#include "messages/host_copy.hpp"

namespace longshore {
namespace {

struct borrower {
  caf::actor holder;
  borrow_range wish;
};

struct holder_state {
  static constexpr const char* name = "model_holder";
  file_load load;
  host_holding holding;
  std::vector<borrower> borrowers;
};

using holder_actor = traced_actor<holder_state>;

void go_on(holder_actor* self);

/// The end of every load that does not stay: once no read is in flight, lets go of everything and says so.
void end_when_idle(holder_actor* self) {
  auto& state = self->state;
  if (state.load.in_flight > 0 || state.load.opening || !state.load.is_ending())
    return;
  state.holding = {};
  state.load.opened.reset();
  say_ended(self, state.load);
}

void refuse_borrowers(holder_actor* self) {
  for (const auto& one : std::exchange(self->state.borrowers, {}))
    self->send(one.holder, range_lent{.index = one.wish.index});
}

void fail(holder_actor* self, error reason) {
  auto& load = self->state.load;
  if (!load.has_failed())
    load.failure = std::move(reason);
  load.next_chunk = load.plan.size();
  refuse_borrowers(self);
  if (load.in_flight > 0)
    self->send(load.services.reader, cancel_reads{load.file});
  end_when_idle(self);
}

void drop(holder_actor* self) {
  self->state.load.dropping = true;
  fail(self, {.code = errc::cancelled, .what = "the load was cancelled", .path = self->state.load.source.path});
}

void want_memory(holder_actor* self) {
  const auto& load = self->state.load;
  const bool is_mapped = load.source.hold == hold_mode::mapped;
  report_progress(self, load, load_stage::waiting_for_memory);
  self->send(load.registry,
             file_opened{load.file, is_mapped ? 0 : arena_pool::rounded(load.opened->file.size_bytes())});
}

void opened(holder_actor* self, const open_result& result) {
  auto& load = self->state.load;
  const auto problem = take_opened(load, result);
  if (load.has_failed())
    return end_when_idle(self);
  if (problem)
    return fail(self, *problem);
  if (load.source.hold == hold_mode::mapped)
    return want_memory(self);
  open_account_for(self, load, self->state.holding, [=](const expected<void>& done) {
    if (self->state.load.is_ending())
      return;
    if (done)
      want_memory(self);
    else
      fail(self, done.error());
  });
}

void lend(holder_actor* self) {
  auto& state = self->state;
  const auto& holding = state.holding;
  std::vector<borrower> waiting;
  for (auto& one : std::exchange(state.borrowers, {})) {
    const auto& wish = one.wish;
    if (!holding.is_in(wish.offset_bytes, wish.length_bytes) ||
        !holding.pins.is_decided(wish.offset_bytes, wish.length_bytes)) {
      waiting.push_back(std::move(one));
      continue;
    }
    const auto lock = holding.pins.lock_of(wish.offset_bytes, wish.length_bytes);
    span_bytes = wish.length_bytes;
    self->send(one.holder, range_lent{.index = wish.index,
                                      .data = holding.data + wish.offset_bytes,
                                      .is_pinned = lock != nullptr,
                                      .memory = lock ? std::shared_ptr<const void>{lock} : holding.bytes});
  }
  state.borrowers = std::move(waiting);
}

void borrowed(holder_actor* self, const borrow_range& wish) {
  auto& state = self->state;
  state.borrowers.push_back({caf::actor_cast<caf::actor>(self->current_sender()), wish});
  if (state.load.is_ending())
    refuse_borrowers(self);
  else
    lend(self);
}

void send_reads(holder_actor* self) {
  auto& load = self->state.load;
  const auto& bytes = self->state.holding.bytes;  // shared with the reads: the leave ends after the last of them
  while (load.next_chunk < load.plan.size() && load.in_flight < load.services.options.credits) {
    const auto index = static_cast<uint32_t>(load.next_chunk++);
    ++load.in_flight;
    send_read(self, load, index, bytes->loading->destination(load.plan[index]), bytes);
  }
}

/// What follows from any piece of news of a load that is under way.
void go_on(holder_actor* self) {
  auto& state = self->state;
  lend(self);
  if (state.holding.is_ready())
    return;
  send_reads(self);
  if (state.load.in_flight > 0 || state.holding.pins.asks())
    return;
  if (auto done = finish_load(self, state.load, state.holding); !done)
    fail(self, done.error());
}

void start_reading(holder_actor* self, std::shared_ptr<const pin_hold> leave) {
  auto& state = self->state;
  auto& load = state.load;
  end_wait(load);
  auto memory = load.source.hold == hold_mode::mapped ? load_memory::mapped(load.opened)
                                                      : load_memory::owned(load.opened, *load.services.pool);
  if (!memory)
    return fail(self, memory.error());
  const bool has_threads = load.services.options.open_on_own_thread;
  if (has_threads && (*memory)->is_at_hand())
    count_all(load);
  else
    load.plan = (*memory)->plan(planning(load));
  if (has_threads)
    (*memory)->touch_ahead(load.plan);
  std::vector<uint64_t> ends;
  for (const auto& c : load.plan)
    ends.push_back(c.offset_bytes + c.length_bytes);
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

void chunk_done(holder_actor* self, const chunk_read& done) {
  auto& load = self->state.load;
  assert(load.in_flight > 0);
  --load.in_flight;
  span_bytes = load.plan[done.index].length_bytes;
  if (load.is_ending())
    return end_when_idle(self);
  count_read(load, done);
  count_done(self, load, done.index);
  chunk_came_in(self, load, self->state.holding, done.index, [=] { go_on(self); });
  go_on(self);
}

void chunk_lost(holder_actor* self, const chunk_failed& lost) {
  auto& load = self->state.load;
  --load.in_flight;
  fail(self, reason_of(*load.opened, load.source.path, lost));
}

void partner_gone(holder_actor* self, const caf::down_msg& down) {
  auto& state = self->state;
  auto& load = state.load;
  if (down.source == load.registry.address())
    return self->quit();  // nobody is left to tell; reads in flight keep their memory
  if (down.source == load.services.reader.address()) {
    if (state.holding.is_ready())
      return;            // the load is over: what is in memory needs nobody
    load.in_flight = 0;  // not all of them will be answered; their memory lives in the messages
    return fail(self, partner_lost(load));
  }
  if (auto reason = opener_lost(load))
    fail(self, *reason);
}

caf::behavior holder_behavior(holder_actor* self, const caf::actor& registry, const start_load& order,
                              const holder_services& services) {
  begin_load(self, self->state.load, registry, order, services);
  self->set_down_handler([=](const caf::down_msg& down) { partner_gone(self, down); });
  return {
      [=](const open_result& result) { opened(self, result); },
      [=](const grant_bytes& grant) { granted(self, grant); },
      [=](const refuse_bytes&) { drop(self); },
      [=](const cancel_load&) { drop(self); },
      [=](const drop_file&) { drop(self); },
      [=](const promote&) {
        self->state.load.urgent = true;
        self->send(self->state.load.services.reader, hurry_reads{self->state.load.file});
      },
      [=](const chunk_read& done) { chunk_done(self, done); },
      [=](const chunk_failed& lost) { chunk_lost(self, lost); },
      [=](const chunk_cancelled&) {
        --self->state.load.in_flight;
        end_when_idle(self);
      },
      [=](const borrow_range& wish) { borrowed(self, wish); },
      [=](const prefer_pins& wish) {
        prefer_ranges(self, self->state.load, self->state.holding, wish, [=] { lend(self); });
      },
      [=](const pressure& order_back) { give_back(self, self->state.load, self->state.holding, order_back); },
      [=](const pressure_over&) { self->state.holding.pins_owed_bytes = 0; },
      [=](const lease_change& change) { use_account(self, self->state.load, self->state.holding, change.leased); },
      [=](const keep_file&) { self->send(self->state.load.services.arbiter, decline{self->state.holding.account}); },
  };
}

}  // namespace

caf::actor spawn_model_holder(caf::local_actor* registry, const start_load& order, const holder_services& services) {
  return registry->home_system().spawn(holder_behavior, caf::actor_cast<caf::actor>(registry), order, services);
}

}  // namespace longshore
