// Slots: who gets one, how many there are, and when they go back. One thread, virtual time, a host device.
#include <deque>

#include <gmock/gmock.h>

#include "actors/stream_stager.hpp"
#include "gpu/host_device.hpp"
#include "messages/slot.hpp"
#include "tests/actors/pin_world.hpp"

namespace longshore {
namespace {

using testing::ElementsAre;

constexpr uint64_t slot_bytes = arena_pool::granule_bytes;

/// A stager beside the arbiter of a world, and a borrower for each load.
class stagers : public testing::Test {
protected:
  struct borrower_log {
    caf::actor self;
    std::vector<uint32_t> served;
    std::deque<std::shared_ptr<const staging_slot>> slots;
    std::vector<error> refused;
  };
  using borrower_ptr = std::shared_ptr<borrower_log>;

  void start(uint64_t staging_bytes, pin_limits limits, bool with_device = true) {
    world = std::make_unique<pin_world>(limits);
    stager = spawn_stream_stager(world->system, with_device ? target : nullptr, pool, world->arbiter,
                                 {.slot_bytes = slot_bytes, .staging_limit_bytes = staging_bytes});
    world->run();
  }

  void TearDown() override {
    for (const auto& one : borrowers)
      caf::anon_send_exit(one->self, caf::exit_reason::kill);
    world->run();
    for (const auto& one : borrowers)
      one->slots.clear();
    caf::anon_send_exit(stager, caf::exit_reason::user_shutdown);
    stager = nullptr;
    world.reset();
    EXPECT_EQ(target->counts().registered.now, 0U);
    EXPECT_EQ(pool->mapped_bytes(), 0U);
  }

  borrower_ptr add() {
    auto made = std::make_shared<borrower_log>();
    made->self = world->system.spawn([log = std::weak_ptr(made)](caf::event_based_actor*) -> caf::behavior {
      return {[log](const slot_lent& lent) {
        const auto alive = log.lock();
        if (!alive)
          return;
        if (!lent.slot)
          return alive->refused.push_back(lent.reason);
        alive->served.push_back(lent.index);
        alive->slots.push_back(lent.slot);
      }};
    });
    borrowers.push_back(made);
    return made;
  }

  void borrow(const borrower_ptr& who, uint64_t load, uint32_t index, bool urgent = false) {
    caf::send_as(who->self, stager, borrow_slot{load, index, urgent});
    world->run();
  }

  void give_back(const borrower_ptr& who) {
    who->slots.pop_front();
    world->run();
  }

  std::shared_ptr<host_device> target = std::make_shared<host_device>();
  std::shared_ptr<arena_pool> pool = arena_pool::make(64 * slot_bytes, 0);
  std::unique_ptr<pin_world> world;
  caf::actor stager;
  std::vector<borrower_ptr> borrowers;
};

constexpr pin_limits plenty{.host_limit_bytes = 64 * slot_bytes, .pin_limit_bytes = 64 * slot_bytes};

TEST_F(stagers, lend_up_to_their_limit_and_then_what_comes_back) {
  start(2 * slot_bytes, plenty);
  const auto load = add();
  for (uint32_t i = 0; i < 4; ++i)
    borrow(load, 1, i);
  EXPECT_THAT(load->served, ElementsAre(0, 1));
  EXPECT_EQ(target->counts().registered.now, 2 * slot_bytes);
  give_back(load);
  EXPECT_THAT(load->served, ElementsAre(0, 1, 2));
}

TEST_F(stagers, serve_first_who_is_waited_for_and_the_others_in_turns) {
  start(slot_bytes, plenty);
  const auto first = add(), second = add(), urgent = add();
  borrow(first, 1, 0);
  borrow(first, 1, 1);
  borrow(first, 1, 2);
  borrow(second, 2, 0);
  borrow(urgent, 3, 0, true);
  give_back(first);
  EXPECT_THAT(urgent->served, ElementsAre(0));
  give_back(urgent);
  EXPECT_THAT(first->served, ElementsAre(0, 1));
  give_back(first);
  EXPECT_THAT(second->served, ElementsAre(0)) << "one each";
}

TEST_F(stagers, give_idle_slots_back_after_a_while) {
  start(4 * slot_bytes, plenty);
  const auto load = add();
  borrow(load, 1, 0);
  give_back(load);
  EXPECT_EQ(target->counts().registered.now, slot_bytes) << "the next load may come soon";
  world->advance(std::chrono::seconds{6});
  EXPECT_EQ(target->counts().registered.now, 0U);
  EXPECT_EQ(world->status().used, memory_bytes{});
}

TEST_F(stagers, stay_warm_while_they_are_used) {
  start(4 * slot_bytes, plenty);
  const auto load = add();
  borrow(load, 1, 0);
  give_back(load);
  world->advance(std::chrono::seconds{4});
  borrow(load, 1, 1);
  give_back(load);
  world->advance(std::chrono::seconds{4});
  EXPECT_EQ(target->counts().registered.now, slot_bytes);
}

TEST_F(stagers, do_with_ordinary_memory_when_nothing_may_be_pinned) {
  start(2 * slot_bytes, {.host_limit_bytes = 4 * slot_bytes, .pin_limit_bytes = slot_bytes / 2});
  const auto load = add();
  borrow(load, 1, 0);
  EXPECT_THAT(load->served, ElementsAre(0));
  EXPECT_EQ(target->counts().registered.most, 0U);
}

TEST_F(stagers, say_why_when_there_is_no_memory_for_one_slot) {
  start(2 * slot_bytes, {.host_limit_bytes = slot_bytes / 2, .pin_limit_bytes = 0});
  const auto load = add();
  borrow(load, 1, 7);
  ASSERT_EQ(load->refused.size(), 1U);
  EXPECT_EQ(load->refused.front().code, errc::out_of_budget);
}

TEST_F(stagers, forget_who_dies_waiting_and_cancel_who_asks_for_it) {
  start(slot_bytes, plenty);
  const auto first = add(), dying = add(), cancelled = add(), last = add();
  borrow(first, 1, 0);
  borrow(dying, 2, 0);
  borrow(cancelled, 3, 0);
  borrow(last, 4, 0);
  caf::anon_send_exit(dying->self, caf::exit_reason::kill);
  caf::anon_send(stager, cancel_borrows{3});
  world->run();
  ASSERT_EQ(cancelled->refused.size(), 1U);
  EXPECT_EQ(cancelled->refused.front().code, errc::cancelled);
  give_back(first);
  EXPECT_THAT(last->served, ElementsAre(0));
}

TEST_F(stagers, without_a_device_lend_ordinary_memory) {
  start(2 * slot_bytes, plenty, false);
  const auto load = add();
  borrow(load, 1, 0);
  EXPECT_THAT(load->served, ElementsAre(0));
  EXPECT_EQ(target->counts().registered.most, 0U);
  EXPECT_EQ(world->status().used, (memory_bytes{.host_bytes = slot_bytes, .pinned_bytes = 0}));
}

TEST_F(stagers, without_a_device_do_not_wait_for_room) {
  start(2 * slot_bytes, {.host_limit_bytes = slot_bytes, .pin_limit_bytes = 0, .hysteresis_bytes = 0}, false);
  const auto model = world->add(temper::honest, pin_class::active_model, "a model");
  world->ask(model, {.host_bytes = slot_bytes, .pinned_bytes = 0});
  world->run();
  ASSERT_EQ(model->blocks.size(), 1U);
  const auto load = add();
  borrow(load, 1, 0);
  ASSERT_EQ(load->refused.size(), 1U);
  EXPECT_EQ(load->refused[0].code, errc::out_of_budget);
  pin_world::release(*model, 0);
  borrow(load, 1, 1);
  EXPECT_THAT(load->served, ElementsAre(1));
}

}  // namespace
}  // namespace longshore
