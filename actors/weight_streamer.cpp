#include "actors/weight_streamer.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include <caf/actor_system.hpp>
#include <caf/send.hpp>

#include "actors/streamed_units.hpp"
#include "actors/traced_actor.hpp"
#include "messages/stream.hpp"

namespace longshore {
namespace {

struct waiting_user {
  caf::response_promise promise;
  acquire_layer wish{};
  layer_wait cause{};
  uint64_t since_ns = 0;
};

struct streamer_state {
  static constexpr const char* name = "weight_streamer";
  streamed_units streamed;
  std::map<uint64_t, waiting_user, std::greater<>> waiting;  // by ticket, the newest first
  std::vector<uint64_t> answered_ns;                         // of each layer, when its use began
  stream_rates rates;
  uint64_t largest_layer_bytes = 0;
  uint64_t next_ticket = 1;
  std::vector<uint64_t> waited_ns = std::vector<uint64_t>(layer_wait_count);
  error closed;  // why no layer comes any more; its code is 0 while they do
};

using streamer_actor = traced_actor<streamer_state>;

std::shared_ptr<layer_use> use_of(streamer_actor* self, uint32_t layer) {
  const auto& streamed = self->state.streamed;
  const auto& planned = streamed.plan->layers[layer];
  std::vector<std::shared_ptr<const device_block>> blocks;
  std::vector<device_address> addresses;
  std::shared_ptr<const device_event> ready;
  uint64_t last = 0;
  for (auto u : planned.units) {
    blocks.push_back(streamed.block(u));
    if (const auto& fetch = streamed.units[u].fetch; fetch && fetch->queued_at > last) {
      last = fetch->queued_at;
      ready = fetch->queued;
    }
  }
  for (const auto& tensor : planned.tensors)
    addresses.push_back(streamed.block(tensor.unit)->address() + tensor.offset_bytes);
  return std::make_shared<layer_use>(layer, std::move(addresses), std::move(blocks), std::move(ready),
                                     caf::actor_cast<caf::weak_actor_ptr>(caf::actor{self}));
}

/// On the stream's compute track, which so is made of uses and of what was waited for between them.
void record(streamer_actor* self, trace_name_id name, uint64_t since_ns) {
  trace_record record;
  record.kind = trace_kind::compute;
  record.start_ns = since_ns;
  record.duration_ns = now_ns(self) - since_ns;
  record.span = next_span();
  record.cause = current_span;
  record.subject = static_cast<uint32_t>(self->state.streamed.options.load);
  record.name = name;
  tracer_rings::process().put(record);
}

void end_wait(streamer_actor* self, const waiting_user& user) {
  self->state.waited_ns[static_cast<size_t>(user.cause)] += now_ns(self) - user.since_ns;
  if (tracer_rings::enabled())
    record(self, tracer_rings::process().names().intern(std::string{"waits for: "} + name(user.cause)), user.since_ns);
}

void answer(streamer_actor* self, caf::response_promise promise, uint32_t layer) {
  self->state.answered_ns[layer] = now_ns(self);
  promise.deliver(layer_answer{.use = use_of(self, layer)});
}

/// The newest first: of two that block each other the older one can then go on.
template <class Pick>
std::vector<uint64_t> tickets_where(const streamer_state& state, const Pick& pick) {
  std::vector<uint64_t> picked;
  for (const auto& [ticket, user] : state.waiting)
    if (pick(user))
      picked.push_back(ticket);
  return picked;
}

void refuse(streamer_actor* self, uint64_t ticket, error reason) {
  auto& state = self->state;
  auto user = std::move(state.waiting.extract(ticket).mapped());
  end_wait(self, user);
  if (reason.where.empty())
    reason.where = "layer " + state.streamed.plan->layers[user.wish.layer].name;
  user.promise.deliver(layer_answer{.reason = std::move(reason)});
  carry_out(self, state.streamed, state.streamed.rule->release(user.wish.layer));
}

error no_room(const stream_block& block) {
  return {.code = errc::out_of_budget,
          .what = "the layer needs " + std::to_string(block.missing_bytes) + " bytes more of device memory, but " +
                  std::to_string(block.in_use_bytes) + " of " + std::to_string(block.capacity_bytes) + " are in use"};
}

void refuse_users_of(streamer_actor* self, const lost_unit& lost) {
  const auto& state = self->state;
  for (auto ticket : tickets_where(state, [&](const waiting_user& user) {
         const auto& units = state.streamed.plan->layers[user.wish.layer].units;
         return std::find(units.begin(), units.end(), lost.unit) != units.end();
       }))
    refuse(self, ticket, lost.reason);
}

void serve_users(streamer_actor* self) {
  auto& state = self->state;
  for (auto ticket : tickets_where(state, [&](const waiting_user& user) {
         return is_usable(state.streamed, user.wish.layer, user.wish.on_device);
       })) {
    auto user = std::move(state.waiting.extract(ticket).mapped());
    end_wait(self, user);
    answer(self, user.promise, user.wish.layer);
  }
  for (auto ticket : tickets_where(state, [](const auto&) { return true; }))
    if (const auto block = state.streamed.rule->blocked(state.waiting.at(ticket).wish.layer))
      refuse(self, ticket, no_room(*block));
}

/// What follows from any piece of news. Who is refused leaves room to those who still wait.
void go_on(streamer_actor* self) {
  auto& state = self->state;
  size_t waited = 0;
  do {
    waited = state.waiting.size();
    send_chunks(self, state.streamed);
    for (const auto& lost : std::exchange(state.streamed.lost, {}))
      refuse_users_of(self, lost);
    serve_users(self);
  } while (state.waiting.size() < waited);
}

template <class Answer>
void stepped(streamer_actor* self, const Answer& answer) {
  if (auto over = step_over(self, self->state.streamed.moves, answer)) {
    span_bytes = over->moved.move.what.length_bytes;
    chunk_over(self, self->state.streamed, std::move(*over));
    go_on(self);
  }
}

void wait_for(streamer_actor* self, const caf::response_promise& promise, const acquire_layer& wish, bool is_known) {
  auto& state = self->state;
  const auto ticket = state.next_ticket++;
  state.waiting.emplace(ticket,
                        waiting_user{.promise = promise,
                                     .wish = wish,
                                     .cause = is_known ? cause_now(state.streamed, wish.layer) : layer_wait::order,
                                     .since_ns = now_ns(self)});
  self->delayed_send(self, wish.deadline, layer_deadline{ticket});
}

caf::response_promise acquire(streamer_actor* self, const acquire_layer& wish) {
  auto& state = self->state;
  auto promise = self->make_response_promise();
  if (wish.layer >= state.streamed.plan->layers.size())
    promise.deliver(layer_answer{
        .reason = {.code = errc::bad_argument, .what = "the stream has no layer " + std::to_string(wish.layer)}});
  else if (state.closed.code != errc{})
    promise.deliver(layer_answer{.reason = state.closed});
  if (!promise.pending())
    return promise;
  auto& rule = *state.streamed.rule;
  const auto departures = rule.counts().departures;
  carry_out(self, state.streamed, rule.acquire(wish.layer));
  if (is_usable(state.streamed, wish.layer, wish.on_device))
    answer(self, promise, wish.layer);
  else
    wait_for(self, promise, wish, rule.counts().passes > 1 && rule.counts().departures == departures);
  go_on(self);
  return promise;
}

void expired(streamer_actor* self, uint64_t ticket) {
  const auto& state = self->state;
  const auto found = state.waiting.find(ticket);
  if (found == state.waiting.end())
    return;
  refuse(self, ticket,
         {.code = errc::timed_out,
          .what = std::string{"the layer was not on the device before its deadline; it waits for: "} +
                  name(cause_now(state.streamed, found->second.wish.layer))});
  go_on(self);
}

void released(streamer_actor* self, layer_released& message) {
  auto& state = self->state;
  if (message.last_use) {
    used_until(state.streamed, message);
  } else {
    state.rates.compute_ns[message.layer] = now_ns(self) - state.answered_ns[message.layer];
    if (tracer_rings::enabled())
      record(self, tracer_rings::process().names().intern(state.streamed.plan->layers[message.layer].name),
             state.answered_ns[message.layer]);
  }
  message.blocks.clear();  // what nobody points to can be used again
  carry_out(self, state.streamed, state.streamed.rule->release(message.layer));
  go_on(self);
}

stream_resized change_capacity(streamer_actor* self, uint64_t capacity_bytes) {
  auto& streamed = self->state.streamed;
  const auto before = streamed.blocks->bytes();
  set_capacity(self, streamed, capacity_bytes);
  go_on(self);
  return {.budget_bytes = streamed.options.budget_bytes,
          .freed_bytes = before - std::min(before, streamed.blocks->bytes())};
}

stream_resized resize(streamer_actor* self, uint64_t budget_bytes) {
  self->state.streamed.options.budget_bytes = budget_bytes;
  return change_capacity(self, budget_bytes);
}

/// What was given to other streams is taken again, if they leave it. Any layer can still come.
stream_resized give_room(streamer_actor* self, const make_room& wish) {
  auto& streamed = self->state.streamed;
  const auto taken = streamed.blocks->bytes();
  const auto left = std::max(taken - std::min(taken, wish.bytes), self->state.largest_layer_bytes);
  const auto capacity = std::min(streamed.capacity_bytes, left);
  if (wish.for_good)
    streamed.options.budget_bytes = capacity;
  return change_capacity(self, capacity);
}

/// The budget anew, whatever others needed of it before.
void regain_budget(streamer_actor* self, bool is_polite) {
  auto& streamed = self->state.streamed;
  streamed.is_polite = is_polite;
  streamed.search = room_search::none;
  if (streamed.capacity_bytes < streamed.options.budget_bytes)
    set_capacity(self, streamed, streamed.options.budget_bytes);
}

void pass_begins(streamer_actor* self) {
  auto& state = self->state;
  if (const auto measured = take_link_rate(state.streamed); measured > 0)
    state.rates.link_bytes_per_s = measured;
  state.streamed.rule->set_rates(state.rates);
  self->send(state.streamed.keeper, stream_is_used{});
  prefer_what_moves(self, state.streamed);
  regain_budget(self, false);
  carry_out(self, state.streamed, state.streamed.rule->begin_pass());
  go_on(self);
}

stream_status status_of(const streamer_state& state) {
  const auto& streamed = state.streamed;
  stream_status status{.layers = streamed.plan->layers.size(),
                       .units = streamed.units.size(),
                       .budget_bytes = streamed.options.budget_bytes,
                       .device_bytes = streamed.blocks->bytes(),
                       .device_peak_bytes = streamed.peak_bytes,
                       .counts = streamed.rule->counts(),
                       .disk_bytes = streamed.disk_bytes,
                       .link_bytes_per_s = state.rates.link_bytes_per_s,
                       .waited_ns = state.waited_ns};
  for (const auto& unit : streamed.plan->units)
    status.model_bytes += device_blocks::rounded(unit.layout.total_bytes());
  return status;
}

/// Whether it is the holder of a host copy, without which its files come from the disk, or not at all.
bool do_without_copy(streamer_actor* self, const caf::actor_addr& copy) {
  auto& streamed = self->state.streamed;
  bool is_copy = false;
  for (auto& file : streamed.files)
    if (file.host_copy && file.host_copy.address() == copy) {
      file.host_copy = nullptr;
      is_copy = true;
    }
  if (!is_copy)
    return false;
  for (auto& over : leave_host_copy(self, streamed.moves, copy))
    chunk_over(self, streamed, std::move(over));
  go_on(self);
  return true;
}

void range_came(streamer_actor* self, const range_lent& range) {
  if (range.data != nullptr)
    stepped(self, range);
  else
    do_without_copy(self, caf::actor_cast<caf::actor_addr>(self->current_sender()));
}

void partner_gone(streamer_actor* self, const caf::down_msg& down) {
  auto& state = self->state;
  if (do_without_copy(self, down.source))
    return;
  state.closed = {.code = errc::stopped, .what = "the runtime has stopped, so no layer comes any more"};
  for (auto ticket : tickets_where(state, [](const auto&) { return true; }))
    refuse(self, ticket, state.closed);
}

void begin(streamer_actor* self, const holder_services& services, const device_lane& lane,
           const weight_streamer_options& options) {
  auto& state = self->state;
  auto& streamed = state.streamed;
  const auto& plan = *streamed.plan;
  streamed.target = services.target;
  streamed.options = options;
  streamed.keeper = services.keeper;
  streamed.capacity_bytes = options.budget_bytes;
  auto shape = shape_of(plan);
  state.largest_layer_bytes = largest_layer_bytes(shape);
  streamed.rule.emplace(std::move(shape), options.budget_bytes);
  streamed.blocks.emplace(services.target, options.budget_bytes);
  streamed.units.resize(plan.units.size());
  streamed.moves = {
      .load = options.load, .urgent = true, .reader = services.reader, .copier = services.copier, .lane = lane};
  tracer_rings::process().names().name_subject(
      trace_subject::load, static_cast<uint32_t>(options.load),
      streamed.files.empty()
          ? "stream"
          : "stream of " + streamed.files.front().path.substr(streamed.files.front().path.rfind('/') + 1));
  state.answered_ns.resize(plan.layers.size());
  state.rates.compute_ns.resize(plan.layers.size());
  for (const auto& partner : {services.reader, services.copier, services.keeper, lane.stager, lane.uploader})
    self->monitor(partner);
  self->send(services.keeper, stream_is_used{});
  for (const auto& file : streamed.files)
    if (file.host_copy)
      self->monitor(file.host_copy);
  self->set_down_handler([=](const caf::down_msg& down) { partner_gone(self, down); });
}

caf::behavior streamer_behavior(streamer_actor* self, std::shared_ptr<const layer_plan> plan,
                                std::vector<streamed_file> files, const holder_services& services,
                                const device_lane& lane, const weight_streamer_options& options) {
  self->state.streamed.plan = std::move(plan);
  self->state.streamed.files = std::move(files);
  begin(self, services, lane, options);
  return {
      [=](const acquire_layer& wish) { return acquire(self, wish); },
      [=](layer_released& message) { released(self, message); },
      [=](begin_pass) { pass_begins(self); },
      [=](expect_pass) {
        regain_budget(self, true);
        go_on(self);
      },
      [=](const device_room&) {
        room_came(self->state.streamed);
        go_on(self);
      },
      [=](const range_lent& range) { range_came(self, range); },
      [=](const slot_lent& lent) { stepped(self, lent); },
      [=](const chunk_read& done) { stepped(self, done); },
      [=](const bytes_copied& done) { stepped(self, done); },
      [=](const chunk_failed& failed) { stepped(self, failed); },
      [=](const chunk_cancelled& cancelled) { stepped(self, cancelled); },
      [=](const chunk_queued& queued) {
        if (chunk_stands_in_queue(self->state.streamed, queued))
          go_on(self);
      },
      [=](const chunk_uploaded& done) { stepped(self, done); },
      [=](const upload_failed& failed) { stepped(self, failed); },
      [=](uses_are_over) {
        self->state.streamed.hears = false;
        go_on(self);
      },
      [=](const layer_deadline& message) { expired(self, message.ticket); },
      [=](const resize_stream& wish) { return resize(self, wish.budget_bytes); },
      [=](const make_room& wish) { return give_room(self, wish); },
      [=](show_stream) { return status_of(self->state); },
  };
}

}  // namespace

caf::actor spawn_weight_streamer(caf::actor_system& system, std::shared_ptr<const layer_plan> plan,
                                 std::vector<streamed_file> files, const holder_services& services,
                                 const device_lane& lane, const weight_streamer_options& options) {
  return system.spawn(streamer_behavior, std::move(plan), std::move(files), services, lane, options);
}

}  // namespace longshore
