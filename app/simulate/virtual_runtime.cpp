#include "app/simulate/virtual_runtime.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <caf/send.hpp>

#include "actors/traced_actor.hpp"
#include "app/simulate/simulated_actors.hpp"

namespace longshore {
namespace {

using std::chrono::nanoseconds;

struct system_config : caf::actor_system_config {
  system_config() { set("scheduler.policy", caf::atom("testing")); }
};

struct client_state {
  static constexpr const char* name = "client";
};

caf::actor_id id_of(const caf::resumable* job) {
  const auto* actor = dynamic_cast<const caf::local_actor*>(job);
  return actor == nullptr ? caf::actor_id{0} : actor->id();
}

/// The copies of a device that there is not.
const std::vector<simulated_turn> no_turns;

}  // namespace

struct virtual_runtime::parts {
  explicit parts(const simulated_machine& machine)
      : disk(machine.disk.bytes_per_s, machine.disk.latency, [this] { return now(); }) {
    if (machine.device_capacity_bytes > 0)
      target = std::make_shared<simulated_device>(
          simulated_device_options{.capacity_bytes = machine.device_capacity_bytes,
                                   .link_bytes_per_s = machine.link.bytes_per_s,
                                   .copy_latency = machine.link.latency,
                                   .unpinned_bytes_per_s = machine.unpinned_bytes_per_s,
                                   .register_bytes_per_s = machine.register_bytes_per_s,
                                   .now = [this] { return now(); }});
  }

  host_time now() const { return scheduler.clock().now(); }
  bool handle_message();
  bool pass_time();
  std::optional<host_time> next() const;
  void block(caf::actor_id actor, host_time until);
  void end();

  std::shared_ptr<simulated_device> target;
  simulated_disk disk;
  std::multimap<host_time, std::function<void()>> agenda;
  std::map<caf::actor_id, host_time> blocked;  // actors at work that takes time, and until when
  std::shared_ptr<bool> is_ending = std::make_shared<bool>(false);
  system_config config;
  caf::actor_system system{config};
  caf::scheduler::test_coordinator& scheduler = dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler());
  host_time start = scheduler.clock().now();
  simulated_actors actors;
};

/// The next message of an actor that is not at work; false when there is none.
bool virtual_runtime::parts::handle_message() {
  auto& jobs = scheduler.jobs;
  const auto ready = std::ranges::find_if(jobs, [&](const auto* job) { return !blocked.contains(id_of(job)); });
  if (ready == jobs.end())
    return false;
  std::rotate(jobs.begin(), ready, ready + 1);
  const auto actor = id_of(jobs.front());
  const auto awake_before = jobs.size() - 1;
  scheduler.run_once();
  const auto worked = target ? target->take_blocked_time() : nanoseconds{0};
  if (worked > nanoseconds{0}) {
    block(actor, now() + worked);
    for (auto i = awake_before; i < jobs.size(); ++i)
      block(id_of(jobs[i]), now() + worked);
  }
  return true;
}

void virtual_runtime::parts::block(caf::actor_id actor, host_time until) {
  auto& end = blocked[actor];
  end = std::max(end, until);
}

std::optional<host_time> virtual_runtime::parts::next() const {
  std::optional<host_time> earliest;
  const auto consider = [&](std::optional<host_time> at) {
    if (at && (!earliest || *at < *earliest))
      earliest = at;
  };
  consider(disk.next());
  if (target)
    consider(target->next());
  for (const auto& [actor, until] : blocked)
    consider(until);
  if (!agenda.empty())
    consider(agenda.begin()->first);
  if (const auto& deadlines = scheduler.clock().schedule(); !deadlines.empty())
    consider(deadlines.begin()->first);
  return earliest;
}

bool virtual_runtime::parts::pass_time() {
  const auto at = next();
  if (!at)
    return false;
  scheduler.advance_time(std::max(*at - now(), nanoseconds{0}));
  std::erase_if(blocked, [&](const auto& work) { return work.second <= now(); });
  disk.run_until(now());
  if (target)
    target->run_until(now());
  while (!agenda.empty() && agenda.begin()->first <= now())
    agenda.extract(agenda.begin()).mapped()();
  return true;
}

/// Loads are cancelled, what is in flight comes to its end, and then the actors do: an uploader that ends with copies
/// under way would wait for them, and here nobody else could make them end.
void virtual_runtime::parts::end() {
  *is_ending = true;
  agenda.clear();
  if (actors.registry)
    caf::anon_send(actors.registry, stop_models{});
  const auto works = [&] { return disk.next() || (target && target->next()) || !blocked.empty(); };
  while (handle_message() || (works() && pass_time())) {
  }
  for (const auto& actor : actors.all())
    caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
  actors = {};
  while (handle_message()) {
  }
  scheduler.clock().cancel_all();
  while (handle_message()) {
  }
}

expected<std::unique_ptr<virtual_runtime>> virtual_runtime::start(
    const simulated_machine& machine, std::function<void(const load_progress&)> on_progress) {
  auto p = std::make_unique<parts>(machine);
  const auto tell = [tell = std::move(on_progress), ending = p->is_ending](const load_progress& news) {
    if (!*ending)
      tell(news);
  };
  auto spawned = spawn_simulated_actors(p->system, machine, p->disk, p->target, tell);
  if (!spawned)
    return unexpected(spawned.error());
  p->actors = std::move(*spawned);
  return std::unique_ptr<virtual_runtime>(new virtual_runtime(std::move(p)));
}

virtual_runtime::virtual_runtime(std::unique_ptr<parts> p) : parts_(std::move(p)) {}

virtual_runtime::~virtual_runtime() { parts_->end(); }

nanoseconds virtual_runtime::now() const { return since_start(parts_->now()); }

nanoseconds virtual_runtime::since_start(host_time at) const { return at - parts_->start; }

void virtual_runtime::get(const get_model& request, std::function<void(const model_answer&)> then) {
  const auto tell = [then = std::move(then), ending = parts_->is_ending](const model_answer& answer) {
    if (!*ending)
      then(answer);
  };
  parts_->system.spawn([registry = parts_->actors.registry, request, tell](traced_actor<client_state>* self) {
    self->request(registry, caf::infinite, request)
        .then([tell](const model_answer& answer) { tell(answer); },
              [tell](const caf::error& lost) {
                tell({.lease = nullptr,
                      .hit = false,
                      .reason = {.code = errc::stopped, .what = "the registry gave no answer: " + to_string(lost)}});
              });
  });
}

void virtual_runtime::at(nanoseconds when, std::function<void()> todo) {
  parts_->agenda.emplace(parts_->start + when, std::move(todo));
}

bool virtual_runtime::step() { return parts_->handle_message() || parts_->pass_time(); }

simulated_memory virtual_runtime::memory() const {
  const auto& target = parts_->target;
  const auto& actors = parts_->actors;
  const auto staging_bytes = actors.staging_pool->mapped_bytes();
  return {.host_bytes = actors.pool->mapped_bytes() + staging_bytes,
          .staging_bytes = staging_bytes,
          .pinned_bytes = target ? target->registered().now : 0,
          .device_bytes = target ? target->allocated().now : 0};
}

uint64_t virtual_runtime::read_bytes() const { return parts_->disk.read_bytes(); }

uint64_t virtual_runtime::copied_bytes() const { return parts_->target ? parts_->target->copied_bytes() : 0; }

const std::vector<simulated_turn>& virtual_runtime::disk_turns() const { return parts_->disk.turns(); }

const std::vector<simulated_turn>& virtual_runtime::link_turns() const {
  return parts_->target ? parts_->target->turns() : no_turns;
}

}  // namespace longshore
