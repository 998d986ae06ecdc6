#include "actors/block_keeper.hpp"

#include <algorithm>
#include <chrono>
#include <functional>
#include <unordered_map>
#include <utility>

#include <caf/actor_system.hpp>

#include "actors/traced_actor.hpp"
#include "messages/block.hpp"
#include "messages/pin.hpp"

namespace longshore {
namespace {

struct kept_block {
  std::function<void(uint64_t)> on_pressure;
  uint64_t ask = 0;    // the number of the pressure that it is under; 0: none
  uint64_t bytes = 0;  // granted
};

struct keeper_state {
  static constexpr const char* name = "block_keeper";
  caf::actor arbiter;
  block_keeper_options options;
  std::unordered_map<account_id, kept_block> blocks;  // granted, or waiting for the grant
  size_t opening = 0;                                 // registrations without an account so far
  uint64_t asks = 0;
  uint64_t kept_bytes = 0;
};

using keeper_actor = traced_actor<keeper_state>;

/// How long the arbiter may take to open an account, and to answer beyond the deadline that it keeps itself: only one
/// that is gone takes so long.
constexpr auto answer_slack = std::chrono::seconds{10};

/// One registration on its way.
struct registration {
  register_block wish;
  caf::actor_clock::time_point until;
  caf::response_promise promise;
};

void refuse(registration& one, error reason) { one.promise.deliver(block_answer{nullptr, std::move(reason)}); }

error no_word(const caf::error& lost) {
  return {.code = errc::stopped, .what = "no word from the arbiter: " + to_string(lost)};
}

void count(keeper_state& state, account_id account, uint64_t bytes) {
  auto& block = state.blocks.at(account);
  state.kept_bytes += bytes - block.bytes;
  block.bytes = bytes;
  state.options.on_kept(state.kept_bytes);
}

void forget(keeper_actor* self, account_id account) {
  count(self->state, account, 0);
  self->state.blocks.erase(account);
  self->send(self->state.arbiter, close_account{account});
}

void settle(keeper_actor* self, registration one, account_id account, const pin_answer& answer) {
  if (!answer.hold) {
    forget(self, account);
    return refuse(one, answer.reason);
  }
  span_bytes = one.wish.bytes;
  count(self->state, account, one.wish.bytes);
  one.promise.deliver(block_answer{
      std::make_shared<const memory_block>(answer.hold, caf::actor_cast<caf::weak_actor_ptr>(caf::actor{self}),
                                           caf::actor_cast<caf::weak_actor_ptr>(self->state.arbiter))});
}

void ask_for_memory(keeper_actor* self, registration one, account_id account) {
  auto& state = self->state;
  state.blocks.emplace(account, kept_block{one.wish.on_pressure});
  const auto left = std::max(std::chrono::milliseconds::zero(),
                             std::chrono::duration_cast<std::chrono::milliseconds>(one.until - self->clock().now()));
  self->request(state.arbiter, left + answer_slack,
                pin_request{
                    .account = account, .wanted = {.host_bytes = one.wish.bytes, .pinned_bytes = 0}, .deadline = left})
      .then([=](const pin_answer& answer) { settle(self, one, account, answer); },
            [=](const caf::error& lost) { settle(self, one, account, {.hold = nullptr, .reason = no_word(lost)}); });
}

void open_account_of(keeper_actor* self, registration one) {
  auto& state = self->state;
  ++state.opening;
  const account_spec spec{.name = one.wish.name,
                          .cls = one.wish.active ? pin_class::active_intermediate : pin_class::inactive_intermediate};
  self->request(state.arbiter, answer_slack, open_account{spec})
      .then(
          [=](const account_opened& opened) mutable {
            --self->state.opening;
            if (opened.account == 0)
              return refuse(one, opened.reason);
            ask_for_memory(self, std::move(one), opened.account);
          },
          [=](const caf::error& lost) mutable {
            --self->state.opening;
            refuse(one, no_word(lost));
          });
}

error objection(const keeper_state& state, const register_block& wish) {
  if (wish.bytes == 0 || !wish.on_pressure)
    return {.code = errc::bad_argument,
            .what = "the block '" + wish.name + "' has " + (wish.bytes == 0 ? "no bytes" : "nobody to ask for it")};
  const auto count = state.blocks.size() + state.opening;
  if (count >= state.options.max_blocks)
    return {.code = errc::overloaded,
            .what = "no room for the block '" + wish.name + "': there are " + std::to_string(count) + " already"};
  return {};
}

caf::response_promise register_one(keeper_actor* self, const register_block& wish) {
  registration one{
      .wish = wish, .until = self->clock().now() + wish.deadline, .promise = self->make_response_promise()};
  auto promise = one.promise;
  if (auto reason = objection(self->state, wish); reason.code != errc{})
    refuse(one, std::move(reason));
  else
    open_account_of(self, std::move(one));
  return promise;
}

void decline_for(keeper_actor* self, account_id account) {
  self->state.blocks.at(account).ask = 0;
  self->send(self->state.arbiter, decline{account});
}

void ask_client(keeper_actor* self, const pressure& order) {
  auto& state = self->state;
  const auto found = state.blocks.find(order.account);
  if (found == state.blocks.end())
    return;
  span_bytes = order.bytes;
  found->second.ask = ++state.asks;
  self->delayed_send(self, state.options.answer_within, block_overdue{order.account, state.asks});
  try {
    found->second.on_pressure(order.bytes);
  } catch (...) {  // the client's own code: its fault is not the other clients'
    decline_for(self, order.account);
  }
}

void let_off_client(keeper_actor* self, account_id account) {
  if (const auto found = self->state.blocks.find(account); found != self->state.blocks.end())
    found->second.ask = 0;
}

void overdue(keeper_actor* self, const block_overdue& message) {
  const auto found = self->state.blocks.find(message.account);
  if (found != self->state.blocks.end() && found->second.ask == message.ask)
    decline_for(self, message.account);
}

caf::behavior keeper_behavior(keeper_actor* self, const caf::actor& arbiter, block_keeper_options options) {
  self->state.arbiter = arbiter;
  self->state.options = options;
  return {
      [=](const register_block& wish) { return register_one(self, wish); },
      [=](const block_ended& message) { forget(self, message.account); },
      [=](const pressure& order) { ask_client(self, order); },
      [=](const pressure_over& message) { let_off_client(self, message.account); },
      [=](const block_overdue& message) { overdue(self, message); },
  };
}

}  // namespace

caf::actor spawn_block_keeper(caf::actor_system& system, const caf::actor& arbiter, block_keeper_options options) {
  return system.spawn(keeper_behavior, arbiter, options);
}

}  // namespace longshore
