#include "actors/object_holder.hpp"

#include <chrono>
#include <utility>

#include <caf/actor_system.hpp>

#include "actors/traced_actor.hpp"
#include "messages/load.hpp"
#include "messages/pin.hpp"

namespace longshore {
namespace {

/// Members end last to first: the budget hears of free bytes once they are free.
struct kept_object {
  std::shared_ptr<const pin_hold> leave{};
  std::shared_ptr<const void> room{};
  std::shared_ptr<const void> payload;
};

struct holder_state {
  static constexpr const char* name = "object_holder";
  caf::actor registry, arbiter;
  std::shared_ptr<arena_pool> pool;
  std::chrono::milliseconds memory_timeout{};
  file_id file = 0;
  std::string key;
  uint64_t bytes = 0;
  account_id account = 0;
  std::shared_ptr<kept_object> kept;
};

using holder_actor = traced_actor<holder_state>;

template <class Word>
void end(holder_actor* self, const Word& last_word) {
  self->state.kept.reset();
  self->send(self->state.registry, last_word);
  self->quit();
}

void fail(holder_actor* self, const error& reason) { end(self, file_failed{self->state.file, reason}); }

void fail_without_arbiter(holder_actor* self, const caf::error& lost) {
  fail(self,
       {.code = errc::stopped, .what = "no word from the arbiter on '" + self->state.key + "': " + to_string(lost)});
}

void use_account(holder_actor* self, bool leased) {
  const auto& state = self->state;
  self->send(state.arbiter,
             account_use{state.account, leased ? pin_class::active_model : pin_class::inactive_model, leased});
}

void account_came(holder_actor* self, const account_opened& opened) {
  auto& state = self->state;
  if (opened.account == 0)
    return fail(self, opened.reason);
  state.account = opened.account;
  self->send(state.registry, file_opened{state.file, state.bytes});
}

void open_account_for(holder_actor* self) {
  const auto& state = self->state;
  self->request(state.arbiter, state.memory_timeout,
                open_account{{.name = state.key, .cls = pin_class::active_model, .leased = true}})
      .then([=](const account_opened& opened) { account_came(self, opened); },
            [=](const caf::error& lost) { fail_without_arbiter(self, lost); });
}

void leave_came(holder_actor* self, const pin_answer& answer) {
  auto& state = self->state;
  if (!answer.hold)
    return fail(self, answer.reason);
  auto& kept = state.kept;
  kept->leave = answer.hold;
  kept->room = state.pool->leave_room(state.bytes);
  span_bytes = state.bytes;
  use_account(self, false);
  self->send(state.registry, file_ready{.file = state.file,
                                        .held = nullptr,
                                        .on_device = nullptr,
                                        .report = {},
                                        .object = std::shared_ptr<const void>{kept, kept->payload.get()}});
}

void granted(holder_actor* self, const grant_bytes& grant) {
  const auto& state = self->state;
  self->request(state.arbiter, state.memory_timeout + std::chrono::seconds{5},
                pin_request{.account = state.account,
                            .wanted = {.host_bytes = grant.bytes, .pinned_bytes = 0},
                            .patient = grant.patient,
                            .deadline = state.memory_timeout})
      .then([=](const pin_answer& answer) { leave_came(self, answer); },
            [=](const caf::error& lost) { fail_without_arbiter(self, lost); });
}

caf::behavior holder_behavior(holder_actor* self, const caf::actor& registry, const start_load& order,
                              const holder_services& services, std::shared_ptr<const void> payload) {
  auto& state = self->state;
  state.registry = registry;
  state.arbiter = services.arbiter;
  state.pool = services.pool;
  state.memory_timeout = services.options.memory_timeout;
  state.file = order.file;
  state.key = order.source.path;
  state.bytes = order.source.identity.size_bytes;
  state.kept = std::make_shared<kept_object>(kept_object{.payload = std::move(payload)});
  self->monitor(registry);
  self->set_down_handler([=](const caf::down_msg&) { self->quit(); });  // the registry is gone: nobody is left to tell
  open_account_for(self);
  return {
      [=](const grant_bytes& grant) { granted(self, grant); },
      [=](const refuse_bytes&) { end(self, file_dropped{self->state.file}); },
      [=](const cancel_load&) { end(self, file_dropped{self->state.file}); },
      [=](const drop_file&) { end(self, file_dropped{self->state.file}); },
      [=](const lease_change& change) { use_account(self, change.leased); },
      [=](const pressure&) { self->send(self->state.registry, bytes_asked_back{self->state.file}); },
      [](const pressure_over&) {},
      [=](const keep_file&) { self->send(self->state.arbiter, decline{self->state.account}); },
  };
}

}  // namespace

caf::actor spawn_object_holder(caf::local_actor* registry, const start_load& order, const holder_services& services,
                               std::shared_ptr<const void> payload) {
  return registry->home_system().spawn(holder_behavior, caf::actor_cast<caf::actor>(registry), order, services,
                                       std::move(payload));
}

}  // namespace longshore
