#include "actors/model_holder.hpp"

#include <algorithm>
#include <cassert>
#include <utility>
#include <vector>

#include <caf/actor_system.hpp>
#include <caf/send.hpp>

#include "actors/file_load.hpp"
#include "actors/model_pins.hpp"
#include "actors/traced_actor.hpp"
#include "io/load_memory.hpp"
#include "messages/host_copy.hpp"
#include "messages/pin.hpp"

namespace longshore {
namespace {

/// The bytes and the leave to have them. Shared with reads, copies and users, so that the memory is there as long as
/// any of them needs it, and the leave ends after the memory.
struct host_bytes {
  std::shared_ptr<const pin_hold> leave;
  std::shared_ptr<load_memory> loading;
  std::shared_ptr<const held_file> held{};  // once all is in
};

struct borrower {
  caf::actor holder;
  borrow_range wish;
};

struct holder_state {
  static constexpr const char* name = "model_holder";
  file_load load;
  account_id account = 0;  // 0 for what is mapped: the kernel's memory, not ours
  std::shared_ptr<host_bytes> bytes;
  std::byte* data = nullptr;
  std::vector<bool> chunk_is_in;
  model_pins pins;
  uint64_t pins_owed_bytes = 0;  // asked back while their grant was on its way
  std::vector<borrower> borrowers;

  bool is_ready() const { return bytes && bytes->held; }
};

using holder_actor = traced_actor<holder_state>;

void go_on(holder_actor* self);

/// The end of every load that does not stay: once no read is in flight, lets go of everything and says so.
void end_when_idle(holder_actor* self) {
  auto& state = self->state;
  if (state.load.in_flight > 0 || state.load.opening || !state.load.is_ending())
    return;
  state.pins = {};
  state.bytes.reset();
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

void fail_without_arbiter(holder_actor* self, const caf::error& lost) {
  if (!self->state.load.is_ending())
    fail(self, {.code = errc::stopped,
                .what = "no word from the arbiter: " + to_string(lost),
                .path = self->state.load.source.path});
}

void want_memory(holder_actor* self) {
  const auto& load = self->state.load;
  const bool is_mapped = load.source.hold == hold_mode::mapped;
  report_progress(self, load, load_stage::waiting_for_memory);
  self->send(load.registry,
             file_opened{load.file, is_mapped ? 0 : arena_pool::rounded(load.opened->file.size_bytes())});
}

void account_came(holder_actor* self, const account_opened& opened) {
  if (self->state.load.is_ending())
    return;
  if (opened.account == 0)
    return fail(self, opened.reason);
  self->state.account = opened.account;
  want_memory(self);
}

void open_account_for(holder_actor* self) {
  const auto& load = self->state.load;
  const auto& options = load.services.options;
  self->request(load.services.arbiter, options.memory_timeout,
                open_account{{.name = load.source.path,
                              .cls = pin_class::active_model,
                              .leased = true,  // half a model is nothing to take
                              .segment_bytes = options.pin_segment_bytes}})
      .then([=](const account_opened& opened) { account_came(self, opened); },
            [=](const caf::error& lost) { fail_without_arbiter(self, lost); });
}

void opened(holder_actor* self, const open_result& result) {
  auto& load = self->state.load;
  const auto problem = take_opened(load, result);
  if (load.has_failed())
    return end_when_idle(self);
  if (problem)
    return fail(self, *problem);
  if (load.source.hold == hold_mode::mapped)
    want_memory(self);
  else
    open_account_for(self);
}

void use_account(holder_actor* self, bool leased) {
  const auto& state = self->state;
  if (state.account != 0)
    self->send(state.load.services.arbiter,
               account_use{state.account, leased ? pin_class::active_model : pin_class::inactive_model, leased});
}

/// Only when all bytes are in and the file is still the one that the load began with does anybody get to see it.
void finish(holder_actor* self) {
  auto& state = self->state;
  auto& load = state.load;
  const auto& bytes = state.bytes;
  report_progress(self, load, load_stage::checking);
  if (auto same = load.opened->file.check_unchanged(); !same)
    return fail(self, same.error());
  load.report.tensors = load.opened->header->tensors.size();
  load.report.pinned_bytes = state.pins.pinned_bytes();
  bytes->held = bytes->loading->finish();
  bytes->loading.reset();
  load.opened.reset();
  report_progress(self, load, load_stage::ready);
  use_account(self, false);
  self->send(load.registry,
             file_ready{load.file, std::shared_ptr<const held_file>{bytes, bytes->held.get()}, nullptr, load.report});
}

bool is_in(const holder_state& state, uint64_t offset_bytes, uint64_t length_bytes) {
  if (state.is_ready())
    return true;
  const auto& plan = state.load.plan;
  auto at = std::partition_point(plan.begin(), plan.end(),
                                 [=](const chunk& c) { return c.offset_bytes + c.length_bytes <= offset_bytes; });
  for (; at != plan.end() && at->offset_bytes < offset_bytes + length_bytes; ++at)
    if (!state.chunk_is_in[static_cast<size_t>(at - plan.begin())])
      return false;
  return !plan.empty();
}

void lend(holder_actor* self) {
  auto& state = self->state;
  std::vector<borrower> waiting;
  for (auto& one : std::exchange(state.borrowers, {})) {
    const auto& wish = one.wish;
    if (!is_in(state, wish.offset_bytes, wish.length_bytes) ||
        !state.pins.is_decided(wish.offset_bytes, wish.length_bytes)) {
      waiting.push_back(std::move(one));
      continue;
    }
    const auto lock = state.pins.lock_of(wish.offset_bytes, wish.length_bytes);
    span_bytes = wish.length_bytes;
    self->send(one.holder, range_lent{.index = wish.index,
                                      .data = state.data + wish.offset_bytes,
                                      .is_pinned = lock != nullptr,
                                      .memory = lock ? std::shared_ptr<const void>{lock} : state.bytes});
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

void pins_came(holder_actor* self, size_t segment, const pin_answer& answer) {
  auto& state = self->state;
  const auto bytes = state.pins.length_bytes(segment);
  if (state.load.is_ending())
    return;
  std::shared_ptr<const pinned_range> range;
  if (answer.hold && state.pins_owed_bytes == 0)
    range = pinned_range::make(state.load.services.target, state.data + state.pins.offset_bytes(segment), bytes,
                               state.bytes, answer.hold)
                .value_or(nullptr);
  state.pins_owed_bytes -= answer.hold ? std::min(state.pins_owed_bytes, bytes) : 0;
  if (range)
    state.pins.pinned(segment, std::move(range));
  else
    state.pins.refused(segment);
  go_on(self);
}

void ask_for_pins(holder_actor* self, size_t segment) {
  auto& state = self->state;
  const auto timeout = state.load.services.options.memory_timeout;
  state.pins.ask(segment);
  self->request(state.load.services.arbiter, timeout + std::chrono::seconds{5},
                pin_request{.account = state.account,
                            .wanted = {.host_bytes = 0, .pinned_bytes = state.pins.length_bytes(segment)},
                            .within = state.bytes->leave,
                            .deadline = timeout})
      .then([=](const pin_answer& answer) { pins_came(self, segment, answer); },
            [=](const caf::error&) { pins_came(self, segment, {}); });
}

/// Pages that the reads have filled are locked fast, so a segment's turn comes when its last chunk is in.
void pin_what_is_full(holder_actor* self, const chunk& last) {
  auto& state = self->state;
  const auto end_bytes = last.offset_bytes + last.length_bytes;
  for (auto i = state.pins.segment_at(last.offset_bytes); i < state.pins.segments(); ++i) {
    if (state.pins.offset_bytes(i) >= end_bytes)
      break;
    if (state.pins.is_open(i) && is_in(state, state.pins.offset_bytes(i), state.pins.length_bytes(i)))
      ask_for_pins(self, i);
  }
}

void send_reads(holder_actor* self) {
  auto& load = self->state.load;
  const auto& bytes = self->state.bytes;  // shared with the reads, so that the leave ends after the last of them
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
  if (!state.is_ready())
    send_reads(self);
  if (!state.is_ready() && state.load.in_flight == 0 && !state.pins.asks())
    finish(self);
}

void start_reading(holder_actor* self, std::shared_ptr<const pin_hold> leave) {
  auto& state = self->state;
  auto& load = state.load;
  end_wait(load);
  auto memory = load.source.hold == hold_mode::mapped ? load_memory::mapped(load.opened)
                                                      : load_memory::owned(load.opened, *load.services.pool);
  if (!memory)
    return fail(self, memory.error());
  state.data = (*memory)->data();
  const bool has_threads = load.services.options.open_on_own_thread;
  if (has_threads && (*memory)->is_at_hand())
    count_all(load);
  else
    load.plan = (*memory)->plan(planning(load));
  if (has_threads)
    (*memory)->touch_ahead(load.plan);
  state.chunk_is_in.assign(load.plan.size(), false);
  if (load.source.hold == hold_mode::pinned && load.services.target)
    state.pins = {(*memory)->size_bytes(), load.services.options.pin_segment_bytes};
  state.bytes = std::make_shared<host_bytes>(host_bytes{std::move(leave), std::move(*memory)});
  report_progress(self, load, load_stage::reading);
  go_on(self);
}

void leave_came(holder_actor* self, const pin_answer& answer) {
  if (self->state.load.is_ending())
    return;
  if (answer.hold)
    return start_reading(self, answer.hold);
  auto reason = answer.reason;
  reason.path = self->state.load.source.path;
  fail(self, std::move(reason));
}

void granted(holder_actor* self, const grant_bytes& grant) {
  const auto& state = self->state;
  if (state.load.is_ending())
    return;
  if (state.account == 0)
    return start_reading(self, nullptr);
  const auto timeout = state.load.services.options.memory_timeout;
  self->request(state.load.services.arbiter, timeout + std::chrono::seconds{5},
                pin_request{.account = state.account,
                            .wanted = {.host_bytes = grant.bytes, .pinned_bytes = 0},
                            .patient = grant.patient,
                            .deadline = timeout})
      .then([=](const pin_answer& answer) { leave_came(self, answer); },
            [=](const caf::error& lost) { fail_without_arbiter(self, lost); });
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
  self->state.chunk_is_in[done.index] = true;
  pin_what_is_full(self, load.plan[done.index]);
  go_on(self);
}

void chunk_lost(holder_actor* self, const chunk_failed& lost) {
  auto& load = self->state.load;
  --load.in_flight;
  fail(self, reason_of(load, lost));
}

void unpin(holder_actor* self, uint64_t bytes) {
  auto& state = self->state;
  const auto released = state.pins.release(bytes);
  if (released < bytes && state.pins.asks())
    state.pins_owed_bytes += bytes - released;
  else if (released == 0)
    self->send(state.load.services.arbiter, decline{state.account});
}

void pressed(holder_actor* self, const pressure& order) {
  const auto& load = self->state.load;
  if (order.kind == relief_kind::unpin)
    unpin(self, order.bytes);
  else
    self->send(load.registry, bytes_asked_back{load.file});
}

void partner_gone(holder_actor* self, const caf::down_msg& down) {
  auto& state = self->state;
  auto& load = state.load;
  if (down.source == load.registry.address())
    return self->quit();  // nobody is left to tell; reads in flight keep their memory
  if (down.source == load.services.reader.address()) {
    if (state.is_ready())
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
      [=](const pressure& order_back) { pressed(self, order_back); },
      [=](const pressure_over&) { self->state.pins_owed_bytes = 0; },
      [=](const lease_change& change) { use_account(self, change.leased); },
      [=](const keep_file&) { self->send(self->state.load.services.arbiter, decline{self->state.account}); },
  };
}

}  // namespace

caf::actor spawn_model_holder(caf::local_actor* registry, const start_load& order, const holder_services& services) {
  return registry->home_system().spawn(holder_behavior, caf::actor_cast<caf::actor>(registry), order, services);
}

}  // namespace longshore
