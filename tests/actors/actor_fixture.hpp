#pragma once
/// All actors of a runtime in one thread: the test decides which of them handles its next message, which read of the
/// disk completes, and when time passes.
///
/// Owns an actor system on CAF's test coordinator with its virtual clock, a pool of arenas, a virtual disk, a registry,
/// a reader and casters, and, where asked for, a stepped device with what serves it. Everything that happens is one
/// *event*: a message handled, a read completed, a step of the device. After each the pool's limit is checked, and
/// `after_each_event` runs. Deterministic: the same calls (and seeds) give the same history.
/// Failure: a broken rule fails the running test.

#include <chrono>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <caf/send.hpp>

#include "actors/cache_registry.hpp"
#include "actors/device_lanes.hpp"
#include "actors/disk_reader.hpp"
#include "actors/host_casting.hpp"
#include "actors/host_copier.hpp"
#include "actors/pin_arbiter.hpp"
#include "actors/preloader.hpp"
#include "io/arena.hpp"
#include "messages/cache.hpp"
#include "messages/pin.hpp"
#include "messages/preload.hpp"
#include "tests/actors/model_files.hpp"
#include "tests/actors/stepped_device.hpp"
#include "tests/actors/virtual_disk.hpp"

namespace longshore {

/// A request on its way, and what came back: every answer, so that a second one would show.
template <class Answer>
struct inquiry {
  caf::actor asker;
  std::vector<Answer> answers;
  std::vector<std::string> lost;  ///< answers of CAF's own: nobody was there
  bool answered() const { return answers.size() + lost.size() == 1; }
};
template <class Answer>
using inquiry_ptr = std::shared_ptr<inquiry<Answer>>;

struct world_options {
  uint64_t limit_bytes = 64 << 20;
  uint64_t warm_bytes = 0;
  size_t disk_depth = 3;
  holder_options holder{.credits = 6,
                        .chunk_bytes = 16384,
                        .page_cache = page_cache_mode::buffered,
                        .leave_in_cache = true,
                        .open_on_own_thread = false};
  std::chrono::milliseconds memory_timeout = std::chrono::seconds{30};
  std::shared_ptr<stepped_device> device{};
  uint64_t device_limit_bytes = 0;
  uint64_t pin_limit_bytes = 0;
  uint64_t staging_bytes = 0;
  uint64_t scratch_bytes = 8 << 20;  ///< of casts
};

class actor_world {
  struct config : caf::actor_system_config {
    config() { set("scheduler.policy", caf::atom("testing")); }
  };
  config config_;

public:
  explicit actor_world(const world_options& options = {})
      : limit_bytes(options.limit_bytes),
        device(options.device),
        pool(arena_pool::make(options.limit_bytes, options.warm_bytes)),
        disk(options.disk_depth),
        system(config_),
        scheduler(dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler())),
        running_before_(system.registry().running()) {
    reader = spawn_disk_reader(system, [this](completion_callback done) { return disk.make_engine(std::move(done)); });
    listener = system.spawn([this](caf::event_based_actor*) -> caf::behavior {
      return {[this](const load_progress& news) { progress.push_back(news); }};
    });
    arbiter = spawn_pin_arbiter(
        system, {.host_limit_bytes = limit_bytes, .pin_limit_bytes = options.pin_limit_bytes, .hysteresis_bytes = 0});
    if (device)
      spawn_for_device(options);
    casting = spawn_host_casting(system, pool, arbiter,
                                 {.scratch_bytes = options.scratch_bytes,
                                  .chunk_bytes = options.holder.chunk_bytes,
                                  .on_own_threads = false,
                                  .read = [this](int fd, std::byte* to, uint64_t length, uint64_t offset) {
                                    return disk.read_cached(fd, to, length, offset);
                                  }});
    registry = spawn_cache_registry(
        system,
        {.limits = {.host_limit_bytes = limit_bytes, .device_limit_bytes = options.device_limit_bytes},
         .memory_timeout = options.memory_timeout},
        {.reader = reader,
         .arbiter = arbiter,
         .listener = listener,
         .pool = pool,
         .options = options.holder,
         .target = device,
         .lanes = lanes,
         .copier = copier,
         .casting = casting});
    servants_ = running_actors_now() - running_before_;
    run();
  }

  ~actor_world() {
    after_each_event = [] {};
    std::vector<caf::actor> all{registry, reader, listener, copier};
    for (auto& lane : std::exchange(lanes, {}))
      all.insert(all.end(), {lane.stager, lane.uploader});
    for (auto& one : std::exchange(casting, {}).all())
      all.push_back(one);
    all.push_back(arbiter);
    for (const auto& actor : all)
      if (actor)
        caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
    all.clear();
    last_by_name_.clear();
    advance(std::chrono::hours{24});  // also takes what is left off the virtual clock
    EXPECT_EQ(running_actors(), 0U) << "an actor outlived its runtime";
    EXPECT_FALSE(disk.engine_alive());
  }
  actor_world(const actor_world&) = delete;
  actor_world& operator=(const actor_world&) = delete;

  /// Sends a request on behalf of a client of its own.
  template <class Answer, class Message>
  inquiry_ptr<Answer> ask(const caf::actor& whom, const Message& message) {
    auto made = std::make_shared<inquiry<Answer>>();
    made->asker = system.spawn([=, weak = std::weak_ptr(made)](caf::event_based_actor* self) {
      self->request(whom, caf::infinite, message)
          .then(
              [=](const Answer& answer) {
                if (auto alive = weak.lock())
                  alive->answers.push_back(answer);
              },
              [=](const caf::error& error) {
                if (auto alive = weak.lock())
                  alive->lost.push_back(to_string(error));
              });
    });
    return made;
  }
  inquiry_ptr<model_answer> get(const get_model& request) { return ask<model_answer>(registry, request); }
  inquiry_ptr<model_answer> put(const put_object& request) { return ask<model_answer>(registry, request); }
  inquiry_ptr<cache_answer> stop() { return ask<cache_answer>(registry, stop_models{}); }

  /// The same, to the end.
  model_answer load(const get_model& request) {
    auto asked = get(request);
    run();
    EXPECT_EQ(asked->answers.size(), 1U);
    return asked->answers.empty() ? model_answer{} : std::move(asked->answers.front());
  }
  model_list list() {
    auto asked = ask<model_list>(registry, list_models{});
    run();
    return asked->answers.at(0);
  }

  /// The next event in order of arrival, messages before reads; false when nothing happens until time passes.
  bool step() {
    if (scheduler.has_job())
      return handle_next();
    if (disk.in_flight() > 0)
      return complete_read(0);
    return device && device->pending() > 0 && step_device(0);
  }

  /// The next event of any order that a real machine could show.
  template <class Random>
  bool step_shuffled(Random& random) {
    const auto messages = scheduler.jobs.size(), reads = disk.in_flight();
    const auto choices = messages + reads + (device ? device->pending() : 0);
    if (choices == 0)
      return false;
    const auto choice = random() % choices;
    if (choice >= messages + reads)
      return step_device(choice - messages - reads);
    if (choice >= messages)
      return complete_read(choice - messages);
    std::swap(scheduler.jobs.front(), scheduler.jobs[choice]);
    return handle_next();
  }

  /// At most so many events; returns how many there were.
  size_t run(size_t events = std::numeric_limits<size_t>::max()) {
    size_t done = 0;
    while (done < events && step())
      ++done;
    return done;
  }
  void run_shuffled(uint64_t seed) {
    std::mt19937_64 random{seed};
    while (step_shuffled(random)) {
    }
  }

  /// Handles messages only: what happens before the disk gives anything.
  void run_messages() {
    while (scheduler.has_job())
      handle_next();
  }

  /// Lets time pass, on a disk that gives nothing meanwhile, or on one that works.
  void pass_time_with_stuck_disk(std::chrono::milliseconds time) {
    scheduler.advance_time(time);
    run_messages();
  }
  void advance(std::chrono::milliseconds time) {
    pass_time_with_stuck_disk(time);
    run();
  }

  void kill(const caf::actor& victim) { caf::anon_send_exit(victim, caf::exit_reason::kill); }

  /// Lets so much time pass that scratch memory which nobody uses is given back.
  void outlast_idle_scratch() { advance(std::chrono::seconds{2}); }

  size_t running_actors() { return running_actors_now() - running_before_; }
  size_t used_bytes() const { return pool->mapped_bytes() - pool->idle_bytes(); }

  /// Stops in order and checks that nothing is left but what `leases` hold.
  void stop_and_expect_empty(size_t leases = 0) {
    auto stopped = stop();
    run();
    ASSERT_EQ(stopped->answers.size(), 1U);
    EXPECT_TRUE(stopped->answers.front().done);
    outlast_idle_scratch();
    if (leases == 0) {
      EXPECT_EQ(used_bytes(), 0U);
      EXPECT_EQ(running_actors(), servants_) << "a holder or opener outlived the stop";
    }
    EXPECT_EQ(disk.in_flight(), 0U);
  }

  /// The actor of this name that handled a message last; null when none did.
  caf::actor last_named(const std::string& name) const {
    const auto found = last_by_name_.find(name);
    return found == last_by_name_.end() ? caf::actor{} : found->second;
  }

  const uint64_t limit_bytes;
  std::function<void()> after_each_event = [] {};
  std::shared_ptr<stepped_device> device;
  std::shared_ptr<arena_pool> pool;
  virtual_disk disk;
  std::vector<load_progress> progress;
  caf::actor_system system;
  caf::scheduler::test_coordinator& scheduler;
  caf::actor reader, listener, arbiter, copier, registry;
  std::vector<device_lane> lanes;
  host_casting casting;

private:
  size_t running_actors_now() { return system.registry().running(); }

  void spawn_for_device(const world_options& options) {
    lanes = spawn_device_lanes(system, device, pool, arbiter,
                               {.staging_bytes = options.staging_bytes, .chunk_bytes = options.holder.chunk_bytes});
    copier = spawn_host_copier(system, false);
  }
  bool step_device(size_t index) {
    device->step(index);
    return check();
  }
  bool handle_next() {
    if (auto* next = dynamic_cast<caf::local_actor*>(scheduler.jobs.front()))
      last_by_name_[next->name()] = caf::actor_cast<caf::actor>(next);
    scheduler.run_once();
    return check();
  }
  bool complete_read(size_t index) {
    disk.complete(index);
    return check();
  }
  bool check() {
    EXPECT_LE(pool->mapped_bytes(), limit_bytes);
    after_each_event();
    return true;
  }

  std::map<std::string, caf::actor> last_by_name_;
  size_t running_before_;
  size_t servants_ = 0;  ///< the actors that are there from the start
};

/// Descriptors of this process that are open now.
inline size_t open_descriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
    ++count;
  return count;
}

}  // namespace longshore
