#include "actors/cache_registry.hpp"

#include <cassert>
#include <unordered_map>
#include <utility>

#include <caf/actor_system.hpp>
#include <caf/send.hpp>

#include "actors/cast_holder.hpp"
#include "actors/device_holder.hpp"
#include "actors/object_holder.hpp"
#include "actors/traced_actor.hpp"
#include "cache/registry.hpp"
#include "messages/cache.hpp"
#include "messages/load.hpp"
#include "messages/pressure.hpp"

namespace longshore {
namespace {

struct holding {
  caf::actor holder;
  std::shared_ptr<const held_file> held;
  std::shared_ptr<const device_file> on_device;
  load_report report;
  std::shared_ptr<const void> object;
  bool lends = false;  // ranges of the file as it is
};

struct waiting_client {
  caf::response_promise promise{};
  caf::actor_addr client{};
  std::shared_ptr<const shard_index> index{};
  std::string index_path{};
  std::string key;
  bool puts = false;
  bool watched = false;  // its client counts in `clients`
  bool timed_out = false;
};

/// Whether the shards of a generation hold what their index promises. All who wait for one load ask in a row.
struct shard_check {
  uint64_t generation = 0;
  expected<void> verdict;
};

struct registry_state {
  static constexpr const char* name = "cache_registry";
  std::optional<registry> rule;
  cache_registry_options options;
  holder_services services;
  std::unordered_map<file_id, holding> files;
  std::unordered_map<ticket_id, waiting_client> waiting;
  std::vector<caf::response_promise> stopping;
  std::unordered_map<caf::actor_addr, size_t> clients;  // monitored: how many of their tickets wait
  shard_check last_check;
  std::vector<std::string> broken;  // keys whose shards disagree; they go once all orders at hand are carried out
  ticket_id next_ticket = 1;
  size_t next_lane = 0;                 // of the device: files take its streams in turn
  std::shared_ptr<const void> payload;  // of the put that is being handled
  uint64_t traced_bytes = 0;
};

using registry_actor = traced_actor<registry_state>;

void run(registry_actor* self, const actions& todo);

error unfinished(const waiting_client& waiting) {
  return {.code = errc::timed_out,
          .what = waiting.puts
                      ? "there was no memory for the object \"" + waiting.key + "\" before its deadline"
                      : "the model \"" + waiting.key + "\" was not there before its deadline; its disk may be stuck"};
}

caf::actor spawn_holder(registry_actor* self, const start_load& order) {
  auto& state = self->state;
  const auto& lanes = state.services.lanes;
  if (order.source.hold == hold_mode::object)
    return spawn_object_holder(self, order, state.services, state.payload);
  if (tier_of(order.source.hold) == tier::host)
    return order.source.cast_to.empty() ? spawn_model_holder(self, order, state.services)
                                        : spawn_cast_holder(self, order, state.services);
  const auto lane = lanes.empty() ? device_lane{} : lanes[state.next_lane++ % lanes.size()];
  const auto copy = state.files.find(order.host_copy);
  return spawn_device_holder(self, order, state.services, lane,
                             copy == state.files.end() ? nullptr : copy->second.holder);
}

void carry_out(registry_actor* self, const start_load& order) {
  auto holder = spawn_holder(self, order);
  self->monitor(holder);
  self->state.files.emplace(order.file, holding{.holder = std::move(holder),
                                                .held = nullptr,
                                                .on_device = nullptr,
                                                .report = {},
                                                .object = nullptr,
                                                .lends = order.source.cast_to.empty()});
}

/// Orders that leave the file where it is.
template <class Order>
void tell_holder(registry_actor* self, const Order& order) {
  self->send(self->state.files.at(order.file).holder, order);
}

void carry_out(registry_actor* self, const lease_change& order) { tell_holder(self, order); }

void carry_out(registry_actor* self, const keep_file& order) { tell_holder(self, order); }

template <class Order>
void carry_out(registry_actor* self, const Order& order) {
  auto& holding = self->state.files.at(order.file);
  holding.object.reset();
  holding.on_device.reset();
  holding.held.reset();  // grant and promote come before there is anything; after the others nobody may use it
  tell_holder(self, order);
}

/// A sharded model is one only if its files hold exactly the tensors that the index promises. A hit was looked at when
/// it was loaded.
expected<void> check_parts(registry_state& state, const waiting_client& waiting, const leased_model& model) {
  auto& [generation, verdict] = state.last_check;
  const bool has_parts = waiting.index && !model.object;
  if (!has_parts || generation == model.generation)
    return has_parts ? verdict : expected<void>{};
  std::vector<std::vector<std::string_view>> names;
  const auto add_names = [&](const std::vector<tensor_info>& tensors) {
    auto& of_file = names.emplace_back();
    of_file.reserve(tensors.size());
    for (const auto& tensor : tensors)
      of_file.push_back(tensor.name);
  };
  for (const auto& file : model.files)
    add_names(file->tensors());
  for (const auto& file : model.device_files)
    add_names(file->tensors());
  generation = model.generation;
  verdict = check_shards(*waiting.index, waiting.index_path, names);
  return verdict;
}

/// Whoever dies while it waits gives up. The monitor goes with the last ticket, or long-lived clients would collect
/// them.
void watch(registry_actor* self, waiting_client& waiting) {
  waiting.watched = bool{waiting.client};
  if (waiting.watched && ++self->state.clients[waiting.client] == 1)
    self->monitor(waiting.client);
}

waiting_client stop_waiting(registry_actor* self, ticket_id ticket) {
  auto waiting = std::move(self->state.waiting.extract(ticket).mapped());
  if (waiting.watched && --self->state.clients.at(waiting.client) == 0) {
    self->demonitor(waiting.client);
    self->state.clients.erase(waiting.client);
  }
  return waiting;
}

void carry_out(registry_actor* self, const complete& done) {
  auto& state = self->state;
  auto waiting = stop_waiting(self, done.ticket);
  leased_model model{.key = done.key, .kind = done.kind, .generation = done.generation};
  for (auto file : done.files) {
    const auto& [holder, held, on_device, report, object, lends] = state.files.at(file);
    if (held) {
      model.files.push_back(held);
      model.lenders.push_back(lends ? caf::actor_cast<caf::weak_actor_ptr>(holder) : nullptr);
    }
    if (on_device)
      model.device_files.push_back(on_device);
    if (object)
      model.object = object;
    else
      model.reports.push_back(report);
  }
  const auto whole = done.hit ? expected<void>{} : check_parts(state, waiting, model);
  auto lease = std::make_shared<const model_lease>(std::move(model), done.lease,
                                                   caf::actor_cast<caf::weak_actor_ptr>(caf::actor{self}));
  if (whole)
    return waiting.promise.deliver(model_answer{.lease = std::move(lease), .hit = done.hit});
  state.broken.push_back(done.key);
  waiting.promise.deliver(model_answer{.lease = nullptr, .hit = false, .reason = whole.error()});
}

void carry_out(registry_actor* self, const fail& failure) {
  auto waiting = stop_waiting(self, failure.ticket);
  waiting.promise.deliver(
      model_answer{.lease = nullptr, .hit = false, .reason = waiting.timed_out ? unfinished(waiting) : failure.reason});
}

void trace_used_bytes(registry_state& state) {
  if (!tracer_rings::enabled() || state.traced_bytes == state.rule->used_bytes())
    return;
  state.traced_bytes = state.rule->used_bytes();
  trace_counter("host bytes", state.traced_bytes);
}

/// A stop is over when all that is left is leased.
void answer_stop_if_over(registry_actor* self) {
  auto& state = self->state;
  if (state.stopping.empty() || state.rule->has_unleased_files())
    return;
  for (auto& promise : state.stopping)
    promise.deliver(cache_answer{.done = true});
  state.stopping.clear();
}

void run(registry_actor* self, const actions& todo) {
  for (const auto& one : todo)
    std::visit([self](const auto& order) { carry_out(self, order); }, one);
  for (const auto& key : std::exchange(self->state.broken, {}))
    if (const auto removed = self->state.rule->remove(key))  // not there any more: another waiter's turn came first
      run(self, *removed);
  trace_used_bytes(self->state);
  answer_stop_if_over(self);
}

/// Whoever sent the message at hand waits for a lease. `ask`: the rule's answer to the new ticket.
template <class Ask>
caf::response_promise wait_for_lease(registry_actor* self, waiting_client waiting, std::chrono::milliseconds deadline,
                                     const Ask& ask) {
  auto& state = self->state;
  const auto ticket = state.next_ticket++;
  waiting.client = caf::actor_cast<caf::actor_addr>(self->current_sender());
  auto promise = waiting.promise = self->make_response_promise();  // takes the sender out of the message
  state.waiting.emplace(ticket, std::move(waiting));
  run(self, ask(ticket));
  if (auto waits = state.waiting.find(ticket); waits != state.waiting.end()) {  // not for hits: those are over
    self->delayed_send(self, deadline, ticket_deadline{ticket});
    watch(self, waits->second);
  }
  return promise;
}

caf::response_promise get(registry_actor* self, const get_model& request) {
  waiting_client waiting{.index = request.source.index, .index_path = request.source.index_path, .key = request.key};
  return wait_for_lease(self, std::move(waiting), request.deadline, [&](ticket_id ticket) {
    return self->state.rule->get({.ticket = ticket,
                                  .key = request.key,
                                  .kind = request.kind,
                                  .any_kind = request.any_kind,
                                  .mode = request.mode,
                                  .files = request.source.files,
                                  .layout_tag = request.source.layout_tag,
                                  .keep = request.keep,
                                  .urgent = request.urgent});
  });
}

caf::response_promise put(registry_actor* self, const put_object& request) {
  auto& state = self->state;
  if (!request.payload) {
    auto promise = self->make_response_promise();
    promise.deliver(model_answer{
        .lease = nullptr,
        .reason = {.code = errc::bad_argument, .what = "there is no object to put under '" + request.key + "'"}});
    return promise;
  }
  state.payload = request.payload;
  auto promise = wait_for_lease(self, {.key = request.key, .puts = true}, request.deadline, [&](ticket_id ticket) {
    return state.rule->put({.ticket = ticket,
                            .key = request.key,
                            .kind = request.kind,
                            .mode = request.mode,
                            .bytes = request.bytes,
                            .keep = request.keep});
  });
  state.payload.reset();
  return promise;
}

void ticket_expired(registry_actor* self, ticket_id ticket) {
  auto found = self->state.waiting.find(ticket);
  if (found == self->state.waiting.end())
    return;
  found->second.timed_out = true;
  run(self, self->state.rule->give_up(ticket));
}

void opened(registry_actor* self, const file_opened& file) {
  run(self, self->state.rule->file_opened(file.file, file.bytes));
  self->delayed_send(self, self->state.options.memory_timeout, memory_deadline{file.file});
}

void ready(registry_actor* self, const file_ready& file) {
  auto found = self->state.files.find(file.file);
  assert(found != self->state.files.end());
  found->second.held = file.held;
  found->second.on_device = file.on_device;
  found->second.report = file.report;
  found->second.object = file.object;
  run(self, self->state.rule->file_ready(file.file));
}

template <class Report>
void gone(registry_actor* self, file_id file, Report&& report) {
  if (self->state.files.erase(file) > 0)
    run(self, report());
}

/// A holder that ended without a word, or a client that will never read its answer.
void bury(registry_actor* self, const caf::down_msg& down) {
  auto& state = self->state;
  for (const auto& [file, holding] : state.files)
    if (holding.holder.address() == down.source) {
      const auto lost = file;
      return gone(self, lost, [&] {
        return state.rule->file_failed(lost, {.code = errc::stopped, .what = "the load ended unexpectedly"});
      });
    }
  std::vector<ticket_id> tickets;
  for (const auto& [ticket, waiting] : state.waiting)
    if (waiting.client == down.source)
      tickets.push_back(ticket);
  for (auto ticket : tickets)
    run(self, state.rule->give_up(ticket));
}

cache_answer change(registry_actor* self, const expected<actions>& todo) {
  if (!todo)
    return {.done = false, .reason = todo.error()};
  run(self, *todo);
  return {.done = true};
}

caf::response_promise stop(registry_actor* self) {
  auto promise = self->make_response_promise();
  self->state.stopping.push_back(promise);
  run(self, self->state.rule->stop());
  return promise;
}

caf::behavior registry_behavior(registry_actor* self, const cache_registry_options& options,
                                const holder_services& services) {
  auto& state = self->state;
  state.rule.emplace(options.limits);
  state.options = options;
  state.services = services;
  self->set_down_handler([=](const caf::down_msg& down) { bury(self, down); });
  return {
      [=](const get_model& request) { return get(self, request); },
      [=](const put_object& request) { return put(self, request); },
      [=](const return_lease& message) { run(self, self->state.rule->lease_returned(message.lease)); },
      [=](const ticket_deadline& message) { ticket_expired(self, message.ticket); },
      [=](const memory_deadline& message) { run(self, self->state.rule->reservation_deadline(message.file)); },
      [=](const file_opened& message) { opened(self, message); },
      [=](const file_ready& message) { ready(self, message); },
      [=](const file_failed& message) {
        gone(self, message.file, [&] { return self->state.rule->file_failed(message.file, message.reason); });
      },
      [=](const file_dropped& message) {
        gone(self, message.file, [&] { return self->state.rule->file_dropped(message.file); });
      },
      [=](const bytes_asked_back& message) { run(self, self->state.rule->asked_back(message.file)); },
      [=](const device_pressure& message) { run(self, self->state.rule->shed(tier::device, message.wanted_bytes)); },
      [=](const remove_model& message) { return change(self, self->state.rule->remove(message.key)); },
      [=](const keep_model& message) { return change(self, self->state.rule->keep(message.key, message.keep)); },
      [=](clear_models) { return change(self, self->state.rule->clear()); },
      [=](list_models) {
        const auto& rule = *self->state.rule;
        return model_list{rule.list(), rule.used_bytes(), rule.limit_bytes(), rule.counts()};
      },
      [=](const ask_generation& asked) { return key_generation{self->state.rule->generation(asked.key)}; },
      [=](stop_models) { return stop(self); },
  };
}

}  // namespace

caf::actor spawn_cache_registry(caf::actor_system& system, const cache_registry_options& options,
                                const holder_services& services) {
  return system.spawn(registry_behavior, options, services);
}

}  // namespace longshore
