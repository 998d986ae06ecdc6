#include "actors/stream_stager.hpp"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include <caf/actor_system.hpp>
#include <caf/send.hpp>

#include "actors/traced_actor.hpp"
#include "cache/fair_queue.hpp"
#include "gpu/staging_memory.hpp"
#include "messages/pin.hpp"
#include "messages/slot.hpp"

namespace longshore {
namespace {

/// Shared with whoever has the slot: its grant ends when its memory does, whatever has become of the stager.
struct slot {
  std::shared_ptr<const pin_hold> hold;  // before the memory, so that it ends after it
  std::shared_ptr<const staging_memory> memory;
};

struct borrower {
  caf::actor holder;
  uint32_t index = 0;
};

struct stager_state {
  static constexpr const char* name = "stream_stager";
  stream_stager_options options;
  std::shared_ptr<device> target;
  std::shared_ptr<arena_pool> pool;
  caf::actor arbiter;
  account_id account = 0;
  std::map<uint32_t, std::shared_ptr<const slot>> slots;
  std::vector<uint32_t> idle;  // those lent last at the end: they are warm
  fair_queue<borrower> waiting;
  std::unordered_map<caf::actor_addr, uint64_t> loads;  // monitored borrowers
  bool opening = false;                                 // the account: when the first slot is wanted
  bool growing = false;
  bool pin = true;  // false without a device, and once not even one slot could be page-locked
  bool trimming = false;
  error closed;  // why there will never be a slot; its code is 0 while there may be
  uint64_t lent = 0;
  uint32_t next_number = 0;
  staging_status status;
};

using stager_actor = traced_actor<stager_state>;

void serve(stager_actor* self);
void ask_for_one_more(stager_actor* self);
void open(stager_actor* self);

void lend(stager_actor* self, const borrower& to) {
  auto& state = self->state;
  const auto number = state.idle.back();
  state.idle.pop_back();
  ++state.lent;
  const auto& lent = state.slots.at(number);
  span_bytes = state.options.slot_bytes;
  self->send(to.holder, slot_lent{to.index, std::make_shared<const staging_slot>(
                                                lent->memory->data(), number, lent,
                                                caf::actor_cast<caf::weak_actor_ptr>(caf::actor{self}))});
}

void refuse_all(stager_actor* self, const error& reason) {
  while (auto next = self->state.waiting.pop())
    self->send(next->holder, slot_lent{next->index, nullptr, reason});
}

void count(stager_state& state) {
  state.status.bytes = state.slots.size() * state.options.slot_bytes;
  state.status.pinned_bytes = 0;
  for (const auto& [number, s] : state.slots)
    state.status.pinned_bytes += s->memory->is_pinned() ? state.options.slot_bytes : 0;
  state.status.peak_bytes = std::max(state.status.peak_bytes, state.status.bytes);
  state.status.pinned_peak_bytes = std::max(state.status.pinned_peak_bytes, state.status.pinned_bytes);
  trace_counter("staging bytes", state.status.bytes);
}

/// The arbiter's leave is there, or its refusal: one is enough to go on with what there is already.
void grow(stager_actor* self, const pin_answer& answer) {
  auto& state = self->state;
  state.growing = false;
  error reason = answer.reason;
  if (answer.hold) {
    const bool pin = answer.hold->bytes().pinned_bytes > 0;
    auto memory = staging_memory::make(*state.pool, state.target, state.options.slot_bytes, pin);
    if (memory) {
      const auto number = state.next_number++;
      state.slots.emplace(number, std::make_shared<const slot>(slot{answer.hold, std::move(*memory)}));
      state.idle.push_back(number);
      count(state);
      return serve(self);
    }
    reason = memory.error();
  }
  if (!state.slots.empty())
    return;
  if (reason.code == errc::out_of_budget && std::exchange(state.pin, false))
    ask_for_one_more(self);
  else
    refuse_all(self, reason);
}

void ask_for_one_more(stager_actor* self) {
  auto& state = self->state;
  const auto bytes = state.options.slot_bytes;
  const auto most = std::max<uint64_t>(1, state.options.staging_limit_bytes / bytes);
  if (state.account == 0)
    return open(self);
  if (state.growing || state.slots.size() >= most)
    return;
  state.growing = true;
  self->request(state.arbiter, state.options.pin_timeout + std::chrono::seconds{5},
                pin_request{.account = state.account,
                            .wanted = {.host_bytes = bytes, .pinned_bytes = state.pin ? bytes : 0},
                            .patient = state.target && state.slots.empty(),
                            .deadline = state.options.pin_timeout})
      .then([=](const pin_answer& answer) { grow(self, answer); },
            [=](const caf::error& lost) {
              grow(self, {.hold = nullptr,
                          .reason = {.code = errc::stopped, .what = "no word from the arbiter: " + to_string(lost)}});
            });
}

void trim_later(stager_actor* self) {
  if (std::exchange(self->state.trimming, true))
    return;
  self->delayed_send(self, self->state.options.idle_after, trim_slots{self->state.lent});
}

void serve(stager_actor* self) {
  auto& state = self->state;
  while (!state.idle.empty() && !state.waiting.empty())
    lend(self, *state.waiting.pop());
  if (!state.waiting.empty())
    ask_for_one_more(self);
  else if (!state.idle.empty())
    trim_later(self);
}

void borrow(stager_actor* self, const borrow_slot& wish) {
  auto& state = self->state;
  auto holder = caf::actor_cast<caf::actor>(self->current_sender());
  if (state.loads.emplace(holder.address(), wish.load).second)
    self->monitor(holder);
  state.waiting.push(wish.load, wish.urgent, borrower{std::move(holder), wish.index});
  if (state.closed.code == errc{})
    serve(self);
  else
    refuse_all(self, state.closed);
}

void cancel(stager_actor* self, uint64_t load) {
  const error reason{.code = errc::cancelled, .what = "the load waits no longer for staging memory"};
  for (const auto& one : self->state.waiting.cancel(load))
    self->send(one.holder, slot_lent{one.index, nullptr, reason});
}

void returned(stager_actor* self, uint32_t number) {
  self->state.idle.push_back(number);
  serve(self);
}

/// Nobody borrowed anything since the time was set, so what is idle has been so for long.
void trim(stager_actor* self, const trim_slots& message) {
  auto& state = self->state;
  state.trimming = false;
  if (state.lent != message.lent_before)
    return serve(self);
  for (auto number : std::exchange(state.idle, {}))
    state.slots.erase(number);
  count(state);
}

void bury(stager_actor* self, const caf::down_msg& gone) {
  if (auto load = self->state.loads.extract(gone.source))
    self->state.waiting.cancel(load.mapped());
}

void close(stager_actor* self, error reason) {
  self->state.closed = std::move(reason);
  refuse_all(self, self->state.closed);
}

void open(stager_actor* self) {
  auto& state = self->state;
  if (std::exchange(state.opening, true))
    return;
  const account_spec spec{.name = state.target ? "staging of " + state.target->name() : "scratch memory of casts",
                          .cls = pin_class::stream_staging};
  self->request(state.arbiter, state.options.pin_timeout, open_account{spec})
      .then(
          [=](const account_opened& opened) {
            self->state.account = opened.account;
            if (opened.account == 0)
              return close(self, opened.reason);
            serve(self);
          },
          [=](const caf::error& lost) {
            close(self, {.code = errc::stopped, .what = "no word from the arbiter: " + to_string(lost)});
          });
}

caf::behavior stager_behavior(stager_actor* self, std::shared_ptr<device> target, std::shared_ptr<arena_pool> pool,
                              const caf::actor& arbiter, stream_stager_options options) {
  auto& state = self->state;
  state.options = options;
  state.target = std::move(target);
  state.pin = state.target != nullptr;
  state.pool = std::move(pool);
  state.arbiter = arbiter;
  self->set_down_handler([=](const caf::down_msg& gone) { bury(self, gone); });
  return {
      [=](const borrow_slot& wish) { borrow(self, wish); },
      [=](const slot_returned& message) { returned(self, message.number); },
      [=](const cancel_borrows& message) { cancel(self, message.load); },
      [=](const hurry_borrows& message) { self->state.waiting.make_urgent(message.load); },
      [=](const trim_slots& message) { trim(self, message); },
      [=](show_staging) { return self->state.status; },
  };
}

}  // namespace

caf::actor spawn_stream_stager(caf::actor_system& system, std::shared_ptr<device> target,
                               std::shared_ptr<arena_pool> pool, const caf::actor& arbiter,
                               stream_stager_options options) {
  return system.spawn(stager_behavior, std::move(target), std::move(pool), arbiter, options);
}

}  // namespace longshore
