// Clients' own memory in the budget: registered, asked back, given, kept. One thread and virtual time, then real
// threads.
#include <random>
#include <stdexcept>

#include <gmock/gmock.h>

#include "actors/block_keeper.hpp"
#include "messages/block.hpp"
#include "tests/actors/pin_world.hpp"

namespace longshore {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr pin_limits small{.host_limit_bytes = 100, .pin_limit_bytes = 60, .hysteresis_bytes = 0};

/// A client with one block: what it was told, and what it does about it.
struct client {
  caf::actor asker;
  std::vector<block_answer> answers;
  std::vector<std::string> lost;  ///< answers of CAF's own: nobody was there
  std::vector<uint64_t> asked_for;
  std::function<void()> when_asked = [] {};

  const memory_block* block() const { return answers.empty() ? nullptr : answers.front().block.get(); }
  errc refusal() const { return answers.empty() ? errc{} : answers.front().reason.code; }
  void let_go() { answers.at(0).block.reset(); }
};
using client_ptr = std::shared_ptr<client>;

class keepers : public testing::Test {
protected:
  ~keepers() override {
    clients.clear();
    world.run();
    caf::anon_send_exit(keeper, caf::exit_reason::user_shutdown);
    world.run();
  }

  /// Sends the wish; its answer is there once the world has run.
  client_ptr ask(register_block wish) {
    auto made = std::make_shared<client>();
    if (!wish.on_pressure)
      wish.on_pressure = [weak = std::weak_ptr(made)](uint64_t bytes) {
        const auto alive = weak.lock();
        if (!alive)
          return;
        alive->asked_for.push_back(bytes);
        alive->when_asked();
      };
    made->asker = world.system.spawn([=, this, weak = std::weak_ptr(made)](caf::event_based_actor* self) {
      self->request(keeper, caf::infinite, wish)
          .then(
              [=](const block_answer& answer) {
                if (auto alive = weak.lock())
                  alive->answers.push_back(answer);
              },
              [=](const caf::error& error) {
                if (auto alive = weak.lock())
                  alive->lost.push_back(to_string(error));
              });
    });
    clients.push_back(made);
    return made;
  }

  client_ptr add(const std::string& name, uint64_t bytes, bool active = false) {
    auto made = ask({.name = name, .bytes = bytes, .active = active});
    world.run();
    return made;
  }

  void press(uint64_t bytes) {
    caf::anon_send(world.arbiter, machine_pressure{bytes});
    world.run();
  }

  uint64_t used_bytes() { return world.status().used.host_bytes; }
  uint64_t asked_back_bytes() {
    uint64_t sum = 0;
    for (const auto& account : world.status().accounts)
      sum += account.asked_back.host_bytes;
    return sum;
  }

  pin_world world{small};
  caf::actor keeper = spawn_block_keeper(world.system, world.arbiter, {.max_blocks = 3, .answer_within = seconds{5}});
  std::vector<client_ptr> clients;
};

TEST_F(keepers, count_a_block_until_its_handle_ends) {
  const auto image = add("image", 40), latent = add("latent", 30, true);
  ASSERT_TRUE(image->block() && latent->block());
  EXPECT_EQ(image->block()->bytes(), 40U);
  EXPECT_EQ(used_bytes(), 70U);
  const auto accounts = world.status().accounts;
  ASSERT_EQ(accounts.size(), 2U);
  EXPECT_EQ(accounts[0].spec.name, "image");
  EXPECT_EQ(accounts[0].spec.cls, pin_class::inactive_intermediate);
  EXPECT_EQ(accounts[1].spec.cls, pin_class::active_intermediate);
  image->let_go();
  world.run();
  EXPECT_EQ(used_bytes(), 30U);
  EXPECT_EQ(world.status().accounts.size(), 1U) << "its account is closed";
}

TEST_F(keepers, refuse_what_does_not_fit_and_leave_nothing_behind) {
  add("latent", 70, true);
  const auto large = add("image", 40);
  EXPECT_EQ(large->refusal(), errc::out_of_budget);
  EXPECT_THAT(large->answers.at(0).reason.what, HasSubstr("latent"));
  EXPECT_EQ(world.status().accounts.size(), 1U);
  EXPECT_EQ(add("large", 101)->refusal(), errc::out_of_budget);
}

TEST_F(keepers, refuse_what_makes_no_sense) {
  EXPECT_EQ(add("nothing", 0)->refusal(), errc::bad_argument);
  auto answer = std::make_shared<block_answer>();
  world.system.spawn([&](caf::event_based_actor* self) {
    self->request(keeper, caf::infinite, register_block{.name = "deaf", .bytes = 10}).then([=](const block_answer& a) {
      *answer = a;
    });
  });
  world.run();
  EXPECT_EQ(answer->reason.code, errc::bad_argument);
}

TEST_F(keepers, refuse_more_blocks_than_their_limit) {
  const auto first = ask({.name = "first", .bytes = 1});
  ask({.name = "second", .bytes = 1});
  ask({.name = "third", .bytes = 1});
  const auto fourth = ask({.name = "fourth", .bytes = 1});
  world.run();
  EXPECT_EQ(fourth->refusal(), errc::overloaded);
  first->let_go();
  world.run();
  EXPECT_TRUE(add("fifth", 1)->block());
}

TEST_F(keepers, ask_the_client_once_and_take_what_comes) {
  const auto image = add("image", 40);
  press(10);
  press(20);
  EXPECT_THAT(image->asked_for, ElementsAre(40U)) << "all of it, once";
  EXPECT_EQ(used_bytes(), 40U) << "still there";
  image->let_go();
  world.run();
  EXPECT_EQ(used_bytes(), 0U);
}

TEST_F(keepers, take_a_block_that_is_let_go_of_in_the_call) {
  const auto image = add("image", 40);
  image->when_asked = [raw = image.get()] { raw->let_go(); };
  press(10);
  EXPECT_EQ(used_bytes(), 0U);
  EXPECT_THAT(world.status().accounts, IsEmpty());
}

TEST_F(keepers, ask_again_who_declined) {
  const auto image = add("image", 40);
  image->when_asked = [raw = image.get()] { raw->block()->decline(); };
  press(10);
  EXPECT_EQ(asked_back_bytes(), 0U);
  press(10);
  EXPECT_THAT(image->asked_for, ElementsAre(40U, 40U));
}

TEST_F(keepers, let_a_client_that_throws_decline_and_go_on) {
  const auto image = add("image", 40), other = add("other", 30);
  image->when_asked = [] { throw std::runtime_error("no"); };
  press(70);
  EXPECT_THAT(image->asked_for, ElementsAre(40U));
  EXPECT_THAT(other->asked_for, ElementsAre(30U));
  EXPECT_EQ(asked_back_bytes(), 30U);
}

TEST_F(keepers, decline_for_a_client_that_gives_no_sign) {
  const auto image = add("image", 40);
  press(10);
  world.advance(milliseconds{4900});
  EXPECT_EQ(asked_back_bytes(), 40U);
  world.advance(milliseconds{200});
  EXPECT_EQ(asked_back_bytes(), 0U) << "nothing is expected of it any more";
  press(10);
  EXPECT_EQ(image->asked_for.size(), 2U);
  image->let_go();
  world.advance(seconds{6});
  EXPECT_EQ(used_bytes(), 0U);
}

TEST_F(keepers, do_not_decline_for_a_newer_call_or_one_that_is_over) {
  const auto image = add("image", 40);
  press(10);
  image->block()->decline();
  world.advance(seconds{3});
  press(10);
  world.advance(seconds{3});
  EXPECT_EQ(asked_back_bytes(), 40U) << "asked three seconds ago";
  image->block()->set_active(true);
  image->block()->set_active(false);
  world.run();
  EXPECT_EQ(asked_back_bytes(), 0U);
  press(10);
  world.advance(seconds{3});
  EXPECT_EQ(asked_back_bytes(), 40U);
}

TEST_F(keepers, ask_for_the_inactive_alone_and_the_least_recently_used_first) {
  const auto first = add("first", 20), second = add("second", 20), active = add("active", 20, true);
  first->block()->set_active(true);
  first->block()->set_active(false);
  world.run();
  press(10);
  EXPECT_THAT(second->asked_for, ElementsAre(20U)) << "used longest ago";
  EXPECT_THAT(first->asked_for, IsEmpty());
  press(60);
  EXPECT_THAT(first->asked_for, ElementsAre(20U));
  EXPECT_THAT(active->asked_for, IsEmpty());
  active->block()->set_active(false);
  world.run();
  press(60);
  EXPECT_THAT(active->asked_for, ElementsAre(20U));
}

TEST_F(keepers, make_room_for_models_and_streams_by_the_same_pressure) {
  const auto image = add("image", 40), latent = add("latent", 40, true);
  for (const auto& one : {image, latent})
    one->when_asked = [raw = one.get()] { raw->let_go(); };
  const auto model = world.add(temper::honest, pin_class::active_model, "model");
  world.ask(model, {.host_bytes = 60, .pinned_bytes = 0});
  world.run();
  EXPECT_EQ(model->blocks.size(), 1U);
  EXPECT_FALSE(image->block());
  EXPECT_TRUE(latent->block()) << "a model takes nothing from an active intermediate";
  const auto stream = world.add(temper::honest, pin_class::stream_staging, "stream");
  world.ask(stream, {.host_bytes = 10, .pinned_bytes = 10});
  world.run();
  EXPECT_EQ(stream->blocks.size(), 1U);
  EXPECT_FALSE(latent->block()) << "a stream takes from everyone";
}

TEST_F(keepers, answer_at_the_deadline_when_nobody_makes_room) {
  const auto mute = world.add(temper::silent, pin_class::inactive_model, "mute");
  world.ask(mute, {.host_bytes = 90, .pinned_bytes = 0});
  world.run();
  const auto latent = ask({.name = "latent", .bytes = 50, .active = true, .deadline = milliseconds{700}});
  world.run();
  world.advance(milliseconds{699});
  EXPECT_THAT(latent->answers, IsEmpty());
  world.advance(milliseconds{1});
  EXPECT_EQ(latent->refusal(), errc::timed_out);
  EXPECT_THAT(latent->answers.at(0).reason.what, HasSubstr("mute"));
  EXPECT_EQ(world.status().accounts.size(), 1U);
}

TEST_F(keepers, take_back_what_a_dead_client_waited_for) {
  const auto model = world.add(temper::silent, pin_class::inactive_model, "model");
  world.ask(model, {.host_bytes = 90, .pinned_bytes = 0});
  world.run();
  const auto latent = ask({.name = "latent", .bytes = 50, .active = true});
  world.run();
  caf::anon_send_exit(latent->asker, caf::exit_reason::kill);
  world.run();
  pin_world::release(*model, 0);
  world.run();
  EXPECT_THAT(latent->answers, IsEmpty());
  EXPECT_EQ(used_bytes(), 0U);
  EXPECT_EQ(world.status().accounts.size(), 1U) << "the model's";
}

TEST_F(keepers, leave_blocks_good_when_they_die) {
  const auto image = add("image", 40);
  caf::anon_send_exit(keeper, caf::exit_reason::kill);
  world.run();
  EXPECT_EQ(used_bytes(), 40U);
  press(10);
  image->block()->set_active(true);
  image->block()->decline();
  world.run();
  EXPECT_EQ(used_bytes(), 40U);
  EXPECT_EQ(add("late", 10)->lost.size(), 1U) << "nobody keeps it waiting";
  image->let_go();
  world.run();
  EXPECT_THAT(world.status().accounts, IsEmpty());
}

TEST_F(keepers, outlive_their_arbiter) {
  const auto image = add("image", 40);
  caf::anon_send_exit(world.arbiter, caf::exit_reason::kill);
  world.run();
  EXPECT_EQ(add("late", 10)->refusal(), errc::stopped);
  image->block()->set_active(true);
  image->let_go();
  world.run();
  world.arbiter = spawn_pin_arbiter(world.system, small);  // what the world ends with
}

/// Clients that come, go, use, decline, throw and die, in any order of messages: each registration is answered once,
/// what clients have is never more than the budget, and at the end there is nothing.
void random_history(uint64_t seed) {
  std::mt19937_64 random{seed};
  pin_world world{{.host_limit_bytes = 100, .pin_limit_bytes = 0, .hysteresis_bytes = random() % 20}};
  const auto keeper = spawn_block_keeper(world.system, world.arbiter, {.max_blocks = 6});
  const auto model = world.add(temper::honest, pin_class::inactive_model, "model");
  std::vector<client_ptr> clients;
  const auto add = [&] {
    auto made = std::make_shared<client>();
    const auto nature = random() % 4;
    const register_block wish{.name = "block",
                              .bytes = 1 + random() % 60,
                              .active = random() % 2 == 0,
                              .on_pressure = [=, weak = std::weak_ptr(made), &world](uint64_t bytes) {
                                const auto alive = weak.lock();
                                if (!alive || !alive->block())
                                  return;
                                EXPECT_EQ(bytes, alive->block()->bytes());
                                if (nature == 0) {
                                  world.host_bytes -= static_cast<int64_t>(bytes);
                                  alive->let_go();
                                } else if (nature == 1) {
                                  alive->block()->decline();
                                } else if (nature == 2) {
                                  throw std::runtime_error("no");
                                }
                              }};
    made->asker = world.system.spawn([=, &world](caf::event_based_actor* self) {
      self->request(keeper, caf::infinite, wish).then([=, &world](const block_answer& answer) {
        made->answers.push_back(answer);
        if (answer.block)
          world.host_bytes += static_cast<int64_t>(answer.block->bytes());
      });
    });
    clients.push_back(made);
  };
  const auto let_go = [&](client& one) {
    if (one.block() == nullptr)
      return;
    world.host_bytes -= static_cast<int64_t>(one.block()->bytes());
    one.let_go();
  };
  for (int i = 0; i < 60 && !testing::Test::HasFatalFailure(); ++i) {
    const auto dice = random() % 100;
    if (clients.empty() || dice < 35)
      add();
    else if (auto& one = *clients[random() % clients.size()]; dice < 55)
      let_go(one);
    else if (dice < 70 && one.block() != nullptr)
      one.block()->set_active(random() % 2 == 0);
    else if (dice < 80)
      caf::anon_send(world.arbiter, machine_pressure{1 + random() % 100});
    else if (dice < 90)
      world.ask(model, {.host_bytes = 1 + random() % 40, .pinned_bytes = 0}, random() % 2 == 0);
    else if (dice < 95)
      world.scheduler.advance_time(seconds{6});
    world.run_shuffled(random, random() % 8);
  }
  world.run_shuffled(random, 10'000);
  world.advance(seconds{31});
  for (const auto& one : clients) {
    EXPECT_EQ(one->answers.size(), 1U);
    let_go(*one);
  }
  world.run();
  caf::anon_send_exit(keeper, caf::exit_reason::user_shutdown);
  world.run();
}

TEST(blocks, keep_every_promise_in_any_order) {
  for (uint64_t seed = 0; seed < 500; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    random_history(seed);
    ASSERT_FALSE(testing::Test::HasFailure());
  }
}

}  // namespace
}  // namespace longshore
