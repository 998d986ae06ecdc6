#include "actors/load_client.hpp"

#include <utility>

#include <caf/actor_system.hpp>

#include "actors/traced_actor.hpp"

namespace longshore {
namespace {

/// Beyond the registry's own deadline: only a registry that is gone lets it pass.
constexpr auto answer_slack = std::chrono::seconds{20};

struct client_state {
  static constexpr const char* name = "load_client";
  load_callback on_answer;

  client_state() = default;
  client_state(const client_state&) = delete;
  client_state& operator=(const client_state&) = delete;
  ~client_state() {
    answer(unexpected(error{.code = errc::stopped, .what = "the runtime ended before the load was answered"}));
  }

  void answer(expected<model_answer> result) {
    if (const auto tell = std::exchange(on_answer, nullptr))
      tell(std::move(result));
  }
};

using client_actor = traced_actor<client_state>;

void end(client_actor* self, expected<model_answer> result) {
  self->state.answer(std::move(result));
  self->quit();
}

template <class Request>
void ask(client_actor* self, const caf::actor& registry, const Request& request) {
  self->request(registry, request.deadline + answer_slack, request)
      .then(
          [=](const model_answer& answer) {
            end(self, answer.lease ? expected<model_answer>{answer} : unexpected(answer.reason));
          },
          [=](const caf::error& lost) {
            end(self,
                unexpected(error{.code = errc::stopped, .what = "the runtime gave no answer: " + to_string(lost)}));
          });
}

caf::behavior client_behavior(client_actor* self, const caf::actor& registry, const lease_request& request,
                              load_callback on_answer) {
  self->state.on_answer = std::move(on_answer);
  std::visit([&](const auto& what) { ask(self, registry, what); }, request);
  return {
      [=](cancel_request) { end(self, unexpected(error{.code = errc::cancelled, .what = "the load was cancelled"})); }};
}

}  // namespace

caf::actor spawn_load_client(caf::actor_system& system, const caf::actor& registry, const lease_request& request,
                             load_callback on_answer) {
  return system.spawn(client_behavior, registry, request, std::move(on_answer));
}

}  // namespace longshore
