#include "actors/stream_keeper.hpp"

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include <caf/actor_system.hpp>
#include <caf/send.hpp>

#include "actors/traced_actor.hpp"
#include "messages/pressure.hpp"
#include "messages/stream.hpp"

namespace longshore {
namespace {

/// Someone who needs room, and who is still to be asked for it.
struct room_question {
  caf::response_promise promise{};  // not pending: the machine asks
  uint64_t wanted_bytes = 0;
  uint64_t freed_bytes = 0;
  std::vector<caf::actor> to_ask{};  // the next one at the end
};

struct keeper_state {
  static constexpr const char* name = "stream_keeper";
  stream_keeper_options options;
  caf::actor registry;
  std::vector<caf::actor> streams;  // the one used last at the end
  std::deque<room_question> questions;
  bool is_asking = false;
};

using keeper_actor = traced_actor<keeper_state>;

void ask_next(keeper_actor* self);

void answered(keeper_actor* self, uint64_t freed_bytes) {
  auto& state = self->state;
  state.is_asking = false;
  auto& question = state.questions.front();
  question.freed_bytes += freed_bytes;
  if (question.freed_bytes < question.wanted_bytes && !question.to_ask.empty())
    return ask_next(self);
  span_bytes = question.freed_bytes;
  if (question.promise.pending()) {
    if (question.freed_bytes < question.wanted_bytes)
      self->send(state.registry, device_pressure{question.wanted_bytes - question.freed_bytes});
    question.promise.deliver(device_room{question.freed_bytes});
  }
  state.questions.pop_front();
  ask_next(self);
}

void ask_next(keeper_actor* self) {
  auto& state = self->state;
  if (state.questions.empty() || state.is_asking)
    return;
  auto& question = state.questions.front();
  if (question.to_ask.empty())
    return answered(self, 0);
  state.is_asking = true;
  const auto whom = std::move(question.to_ask.back());
  question.to_ask.pop_back();
  self->request(whom, state.options.answer_timeout, make_room{.bytes = question.wanted_bytes - question.freed_bytes})
      .then([=](const stream_resized& given) { answered(self, given.freed_bytes); },
            [=](const caf::error&) { answered(self, 0); });
}

/// All but the one that asks, so that the one used longest ago is asked first.
void ask_for(keeper_actor* self, room_question question, const caf::actor_addr& asker) {
  auto& state = self->state;
  for (auto it = state.streams.rbegin(); it != state.streams.rend(); ++it)
    if (it->address() != asker)
      question.to_ask.push_back(*it);
  state.questions.push_back(std::move(question));
  ask_next(self);
}

void used(keeper_actor* self) {
  auto& streams = self->state.streams;
  const auto stream = caf::actor_cast<caf::actor>(self->current_sender());
  const auto known = std::find(streams.begin(), streams.end(), stream);
  if (known != streams.end())
    std::rotate(known, known + 1, streams.end());
  else {
    streams.push_back(stream);
    self->monitor(stream);
  }
}

caf::behavior keeper_behavior(keeper_actor* self, const caf::actor& registry, stream_keeper_options options) {
  self->state.options = options;
  self->state.registry = registry;
  self->set_down_handler([=](const caf::down_msg& down) {
    std::erase_if(self->state.streams, [&](const auto& stream) { return stream.address() == down.source; });
  });
  return {
      [=](stream_is_used) { used(self); },
      [=](const need_device_room& wish) {
        const auto asker = caf::actor_cast<caf::actor_addr>(self->current_sender());
        auto promise = self->make_response_promise();  // takes the sender out of the message
        ask_for(self, {.promise = promise, .wanted_bytes = wish.bytes}, asker);
        return promise;
      },
      [=](const device_pressure& message) { ask_for(self, {.wanted_bytes = message.wanted_bytes}, {}); },
  };
}

}  // namespace

caf::actor spawn_stream_keeper(caf::actor_system& system, const caf::actor& registry, stream_keeper_options options) {
  return system.spawn(keeper_behavior, registry, options);
}

}  // namespace longshore
