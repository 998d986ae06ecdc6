#include "actors/pin_arbiter.hpp"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include <caf/actor_system.hpp>
#include <caf/send.hpp>

#include "actors/traced_actor.hpp"
#include "cache/pin_ledger.hpp"
#include "messages/pin.hpp"

namespace longshore {
namespace {

struct waiting_request {
  account_id account = 0;
  caf::response_promise promise;
  std::shared_ptr<const pin_hold> within;
};

struct arbiter_state {
  static constexpr const char* name = "pin_arbiter";
  std::optional<pin_ledger> rule;
  std::unordered_map<account_id, caf::actor_addr> owners;  // an address: an account keeps nobody alive
  std::unordered_map<caf::actor_addr, size_t> watched;     // monitored owners: how many accounts they have
  std::unordered_map<pin_ticket, waiting_request> waiting;
  pin_ticket next_ticket = 1;
  memory_bytes traced{};
  memory_bytes peak{};
  uint64_t evictions = 0;
  uint64_t refusals = 0;
};

using arbiter_actor = traced_actor<arbiter_state>;

waiting_request answered(arbiter_actor* self, pin_ticket ticket) {
  return std::move(self->state.waiting.extract(ticket).mapped());
}

template <class Message>
void tell_owner(arbiter_actor* self, account_id account, const Message& message) {
  const auto found = self->state.owners.find(account);
  if (found == self->state.owners.end())
    return;
  if (auto owner = caf::actor_cast<caf::actor>(found->second))
    self->send(owner, message);
}

void carry_out(arbiter_actor* self, const pin_grant& grant) {
  auto request = answered(self, grant.ticket);
  span_bytes = grant.granted.host_bytes;
  auto hold = std::make_shared<const pin_hold>(
      grant.account, grant.granted, caf::actor_cast<caf::weak_actor_ptr>(caf::actor{self}), std::move(request.within));
  request.promise.deliver(pin_answer{.hold = std::move(hold)});
}

void carry_out(arbiter_actor* self, const pin_refusal& refusal) {
  self->state.refusals += refusal.reason.code == errc::cancelled ? 0 : 1;
  answered(self, refusal.ticket).promise.deliver(pin_answer{.hold = nullptr, .reason = refusal.reason});
}

void carry_out(arbiter_actor* self, const ask_back& order) {
  ++self->state.evictions;
  tell_owner(self, order.account, pressure{order.account, order.kind, order.bytes});
}

void carry_out(arbiter_actor* self, const let_off& order) {
  tell_owner(self, order.account, pressure_over{order.account});
}

void trace_used(arbiter_state& state) {
  const auto& used = state.rule->used();
  if (!tracer_rings::enabled() || state.traced == used)
    return;
  state.traced = used;
  trace_counter("budgeted host bytes", used.host_bytes);
  trace_counter("pinned bytes", used.pinned_bytes);
}

void run(arbiter_actor* self, const pin_actions& todo) {
  for (const auto& one : todo)
    std::visit([self](const auto& order) { carry_out(self, order); }, one);
  auto& [host_bytes, pinned_bytes] = self->state.peak;
  host_bytes = std::max(host_bytes, self->state.rule->used().host_bytes);
  pinned_bytes = std::max(pinned_bytes, self->state.rule->used().pinned_bytes);
  trace_used(self->state);
}

account_opened open(arbiter_actor* self, const account_spec& spec) {
  auto& state = self->state;
  const auto account = state.rule->open_account(spec);
  if (!account)
    return {.account = 0, .reason = account.error()};
  const auto owner = caf::actor_cast<caf::actor_addr>(self->current_sender());
  state.owners.emplace(*account, owner);
  if (++state.watched[owner] == 1)
    self->monitor(owner);
  return {.account = *account};
}

void close(arbiter_actor* self, account_id account) {
  auto& state = self->state;
  auto owner = state.owners.extract(account);
  if (!owner)
    return;
  if (auto watched = state.watched.find(owner.mapped()); watched != state.watched.end() && --watched->second == 0) {
    self->demonitor(watched->first);
    state.watched.erase(watched);
  }
  run(self, state.rule->close_account(account));
}

void bury(arbiter_actor* self, const caf::down_msg& gone) {
  std::vector<account_id> accounts;
  for (const auto& [account, owner] : self->state.owners)
    if (owner == gone.source)
      accounts.push_back(account);
  for (auto account : accounts)
    close(self, account);
}

caf::response_promise request(arbiter_actor* self, const pin_request& wish) {
  auto& state = self->state;
  const auto ticket = state.next_ticket++;
  auto promise = self->make_response_promise();
  state.waiting.emplace(ticket, waiting_request{wish.account, promise, wish.within});
  run(self,
      state.rule->request({.ticket = ticket, .account = wish.account, .wanted = wish.wanted, .patient = wish.patient}));
  if (state.waiting.contains(ticket))
    self->delayed_send(self, wish.deadline, pin_deadline{ticket});
  return promise;
}

void cancel(arbiter_actor* self, account_id account) {
  std::vector<pin_ticket> tickets;
  for (const auto& [ticket, request] : self->state.waiting)
    if (request.account == account)
      tickets.push_back(ticket);
  for (auto ticket : tickets)
    run(self, self->state.rule->cancel(ticket));
}

void note_use(arbiter_actor* self, const account_use& use) {
  run(self, self->state.rule->set_leased(use.account, use.leased));
  run(self, self->state.rule->reclassify(use.account, use.cls));
}

caf::behavior arbiter_behavior(arbiter_actor* self, const pin_limits& limits) {
  self->state.rule.emplace(limits);
  self->set_down_handler([=](const caf::down_msg& gone) { bury(self, gone); });
  return {
      [=](const open_account& message) { return open(self, message.spec); },
      [=](const close_account& message) { close(self, message.account); },
      [=](const pin_request& wish) { return request(self, wish); },
      [=](const cancel_requests& message) { cancel(self, message.account); },
      [=](const pin_deadline& message) { run(self, self->state.rule->deadline(message.ticket)); },
      [=](const relief& message) {
        span_bytes = message.bytes.host_bytes;
        run(self, self->state.rule->relieved(message.account, message.bytes));
      },
      [=](const decline& message) { run(self, self->state.rule->declined(message.account)); },
      [=](const account_use& use) { note_use(self, use); },
      [=](const machine_pressure& message) { run(self, self->state.rule->pressure(message.wanted_bytes)); },
      [=](show_pins) {
        const auto& rule = *self->state.rule;
        const auto& state = self->state;
        return pin_status{rule.accounts(), rule.used(), rule.limit(), state.peak, state.evictions, state.refusals};
      },
  };
}

}  // namespace

caf::actor spawn_pin_arbiter(caf::actor_system& system, const pin_limits& limits) {
  return system.spawn(arbiter_behavior, limits);
}

}  // namespace longshore
