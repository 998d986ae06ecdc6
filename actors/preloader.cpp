#include "actors/preloader.hpp"

#include <algorithm>
#include <chrono>

#include <caf/actor_system.hpp>

#include "actors/traced_actor.hpp"
#include "messages/preload.hpp"

namespace longshore {
namespace {

/// One list on its way: shared by the answers that are still to come.
struct preload_run {
  std::vector<preload_item> items;
  std::vector<preload_outcome> outcomes;
  size_t at_once = 1;
  caf::response_promise promise;
  size_t next = 0;
  size_t under_way = 0;
};

struct preloader_state {
  static constexpr const char* name = "preloader";
  caf::actor registry;
};

using preloader_actor = traced_actor<preloader_state>;

/// How much longer than the registry's own deadline an answer may take before the registry counts as gone.
constexpr auto answer_slack = std::chrono::seconds{10};

void ask_next(preloader_actor* self, const std::shared_ptr<preload_run>& run);

void settle(preloader_actor* self, const std::shared_ptr<preload_run>& run, size_t index, preload_outcome outcome) {
  run->outcomes[index] = std::move(outcome);
  --run->under_way;
  ask_next(self, run);
}

void ask(preloader_actor* self, const std::shared_ptr<preload_run>& run, size_t index) {
  const auto& request = run->items[index].request;
  const auto asked_ns = trace_now_ns();
  ++run->under_way;
  self->request(self->state.registry, request.deadline + answer_slack, request)
      .then([=](const model_answer& answer) { settle(self, run, index, {answer, trace_now_ns() - asked_ns}); },
            [=](const caf::error& lost) {
              error reason{.code = errc::stopped, .what = "the registry gave no answer: " + to_string(lost)};
              settle(self, run, index, {{.lease = nullptr, .hit = false, .reason = reason}, trace_now_ns() - asked_ns});
            });
}

void ask_next(preloader_actor* self, const std::shared_ptr<preload_run>& run) {
  while (run->next < run->items.size() && run->under_way < run->at_once) {
    const auto index = run->next++;
    const auto& reason = run->items[index].reason;
    if (reason.code == errc{})
      ask(self, run, index);
    else
      run->outcomes[index].answer.reason = reason;
  }
  if (run->next == run->items.size() && run->under_way == 0)
    run->promise.deliver(preload_done{std::move(run->outcomes)});
}

caf::response_promise start(preloader_actor* self, const preload_models& list) {
  auto run = std::make_shared<preload_run>(preload_run{.items = list.items,
                                                       .outcomes = std::vector<preload_outcome>(list.items.size()),
                                                       .at_once = std::max<size_t>(1, list.at_once),
                                                       .promise = self->make_response_promise()});
  auto promise = run->promise;
  ask_next(self, run);
  return promise;
}

caf::behavior preloader_behavior(preloader_actor* self, const caf::actor& registry) {
  self->state.registry = registry;
  return {[=](const preload_models& list) { return start(self, list); }};
}

}  // namespace

caf::actor spawn_preloader(caf::actor_system& system, const caf::actor& registry) {
  return system.spawn(preloader_behavior, registry);
}

}  // namespace longshore
