#pragma once
/// Owners of memory around a pin arbiter, in one thread: some honest, some silent, some that decline, all mortal.
///
/// Owns an actor system on CAF's test coordinator, the arbiter, and a witness: a count of the memory that owners (and
/// work in flight for them) really have, made where memory is taken and freed and never from what the arbiter says.
/// After each message the witness is held against both limits. Deterministic. Failure: fails the running test.

#include <algorithm>
#include <chrono>
#include <memory>
#include <random>
#include <vector>

#include <gtest/gtest.h>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/event_based_actor.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <caf/send.hpp>

#include "actors/pin_arbiter.hpp"
#include "messages/pin.hpp"

namespace longshore {

enum class temper : uint8_t { honest, silent, declining };

class pin_world {
  struct config : caf::actor_system_config {
    config() { set("scheduler.policy", caf::atom("testing")); }
  };
  config config_;

public:
  /// Memory that is really there while this lives; the grant ends right after it.
  struct block {
    block(pin_world& w, std::shared_ptr<const pin_hold> h) : world(w), hold(std::move(h)) {
      world.count(hold->bytes(), 1);
    }
    ~block() { world.count(hold->bytes(), -1); }
    block(const block&) = delete;
    block& operator=(const block&) = delete;

    pin_world& world;
    std::shared_ptr<const pin_hold> hold;
  };
  using block_ptr = std::shared_ptr<const block>;

  struct owner {
    temper nature = temper::honest;
    pin_class cls{};
    caf::actor self;
    account_id account = 0;
    bool killed = false;
    std::vector<block_ptr> blocks;  // a pin's host bytes before it
    std::vector<std::string> refusals;
    std::vector<pressure> pressures;
    size_t asked = 0, answered = 0;
  };
  using owner_ptr = std::shared_ptr<owner>;

  explicit pin_world(const pin_limits& l)
      : limits(l), system(config_), scheduler(dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler())) {
    arbiter = spawn_pin_arbiter(system, limits);
  }
  ~pin_world() {
    for (const auto& one : owners)
      kill(one);
    in_flight.clear();
    run();
    expect_empty();
    caf::anon_send_exit(arbiter, caf::exit_reason::user_shutdown);
    run();
    scheduler.advance_time(std::chrono::hours{24});
  }
  pin_world(const pin_world&) = delete;
  pin_world& operator=(const pin_world&) = delete;

  owner_ptr add(temper nature, pin_class cls, const std::string& name) {
    auto made = std::make_shared<owner>();
    made->nature = nature;
    made->cls = cls;
    made->self = system.spawn([this, made, name](caf::event_based_actor* self) -> caf::behavior {
      self->request(arbiter, caf::infinite, open_account{{.name = name, .cls = made->cls}})
          .then([made](const account_opened& opened) { made->account = opened.account; });
      return {[=, this](const pressure& order) { obey(self, *made, order); }, [](const pressure_over&) {}};
    });
    owners.push_back(made);
    run();
    return made;
  }

  /// On behalf of the owner; what comes back is a block, or a refusal. `within`: an index into its blocks.
  void ask(const owner_ptr& who, memory_bytes wanted, bool patient = true,
           std::shared_ptr<const pin_hold> within = {}) {
    ++who->asked;
    const pin_request wish{.account = who->account, .wanted = wanted, .patient = patient, .within = std::move(within)};
    system.spawn([this, who, wish](caf::event_based_actor* self) {
      self->request(arbiter, caf::infinite, wish).then([this, who](const pin_answer& answer) { take(*who, answer); });
    });
  }

  void kill(const owner_ptr& who) {
    if (std::exchange(who->killed, true))
      return;
    who->blocks.clear();
    caf::anon_send_exit(who->self, caf::exit_reason::kill);
  }

  static void release(owner& who, size_t index) {
    const bool is_pin = who.blocks[index]->hold->bytes().host_bytes == 0;
    who.blocks.erase(who.blocks.begin() + static_cast<std::ptrdiff_t>(index));
    if (is_pin)
      return;
    // A host copy takes its pins along; they stand behind it, and each says which it is of.
    std::erase_if(who.blocks, [](const block_ptr& b) { return b->hold->bytes().host_bytes == 0; });
  }

  void run() {
    while (scheduler.has_job())
      step(0);
  }
  template <class Random>
  void run_shuffled(Random& random, size_t steps) {
    for (size_t i = 0; i < steps && scheduler.has_job(); ++i)
      step(random() % scheduler.jobs.size());
  }

  void advance(std::chrono::milliseconds time) {
    scheduler.advance_time(time);
    run();
  }

  pin_status status() {
    auto found = std::make_shared<pin_status>();
    system.spawn([this, found](caf::event_based_actor* self) {
      self->request(arbiter, caf::infinite, show_pins{}).then([found](const pin_status& s) { *found = s; });
    });
    run();
    return *found;
  }

  void expect_empty() {
    const auto now = status();
    EXPECT_EQ(now.used, memory_bytes{});
    EXPECT_TRUE(now.accounts.empty());
    EXPECT_EQ(host_bytes, 0);
    EXPECT_EQ(pinned_bytes, 0);
  }

  const pin_limits limits;
  caf::actor_system system;
  caf::scheduler::test_coordinator& scheduler;
  caf::actor arbiter;
  std::vector<owner_ptr> owners;
  std::vector<block_ptr> in_flight;  ///< copies and reads under way: they keep memory that its owner has let go of
  int64_t host_bytes = 0, pinned_bytes = 0;

private:
  void step(size_t choice) {
    std::swap(scheduler.jobs.front(), scheduler.jobs[choice]);
    scheduler.run_once();
    ASSERT_LE(host_bytes, static_cast<int64_t>(limits.host_limit_bytes));
    ASSERT_LE(pinned_bytes, static_cast<int64_t>(limits.pin_limit_bytes));
  }

  void count(const memory_bytes& bytes, int64_t sign) {
    host_bytes += sign * static_cast<int64_t>(bytes.host_bytes);
    pinned_bytes += sign * static_cast<int64_t>(bytes.pinned_bytes);
  }

  void take(owner& who, const pin_answer& answer) {
    ++who.answered;
    if (!answer.hold)
      who.refusals.push_back(to_text(answer.reason));
    else if (!who.killed)
      who.blocks.push_back(std::make_shared<const block>(*this, answer.hold));
  }

  void obey(caf::event_based_actor* self, owner& who, const pressure& order) {
    who.pressures.push_back(order);
    if (who.nature == temper::declining)
      self->send(arbiter, decline{who.account});
    if (who.nature != temper::honest)
      return;
    if (order.kind == relief_kind::free)
      return who.blocks.clear();
    uint64_t given = 0;
    for (size_t i = who.blocks.size(); i-- > 0 && given < order.bytes;)
      if (const auto bytes = who.blocks[i]->hold->bytes(); bytes.host_bytes == 0) {
        given += bytes.pinned_bytes;
        release(who, i);
      }
  }
};

}  // namespace longshore
