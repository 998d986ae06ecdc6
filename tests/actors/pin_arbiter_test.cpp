// The budget through messages: grants, pressure, relief, and owners that die, say nothing or decline.
#include <cstdlib>

#include <gmock/gmock.h>

#include "tests/actors/pin_world.hpp"

namespace longshore {
namespace {

using testing::HasSubstr;

constexpr pin_limits small{.host_limit_bytes = 100, .pin_limit_bytes = 60, .hysteresis_bytes = 0};

TEST(pin_arbiter, grants_what_fits_and_counts_it_until_the_memory_is_gone) {
  pin_world world{small};
  const auto model = world.add(temper::honest, pin_class::active_model, "model");
  world.ask(model, {.host_bytes = 80, .pinned_bytes = 0});
  world.run();
  ASSERT_EQ(model->blocks.size(), 1U);
  world.in_flight.push_back(model->blocks.front());
  world.kill(model);
  world.run();
  EXPECT_EQ(world.status().used.host_bytes, 80U) << "a read in flight still writes there";
  world.in_flight.clear();
  world.run();
  EXPECT_EQ(world.status().used.host_bytes, 0U);
}

TEST(pin_arbiter, takes_pins_just_in_time_from_those_that_matter_less) {
  pin_world world{small};
  const auto model = world.add(temper::honest, pin_class::inactive_model, "model");
  world.ask(model, {.host_bytes = 50, .pinned_bytes = 0});
  world.run();
  world.ask(model, {.host_bytes = 0, .pinned_bytes = 50}, true, model->blocks.front()->hold);
  world.run();
  const auto stream = world.add(temper::honest, pin_class::stream_staging, "stream");
  world.ask(stream, {.host_bytes = 30, .pinned_bytes = 30});
  world.run();
  EXPECT_EQ(stream->blocks.size(), 1U);
  EXPECT_EQ(model->blocks.size(), 1U) << "the host copy stays";
  ASSERT_EQ(model->pressures.size(), 1U);
  EXPECT_EQ(model->pressures.front().kind, relief_kind::unpin);
}

TEST(pin_arbiter, refuses_at_the_deadline_and_names_who_said_nothing) {
  pin_world world{small};
  const auto silent = world.add(temper::silent, pin_class::inactive_intermediate, "a cached image");
  world.ask(silent, {.host_bytes = 90, .pinned_bytes = 0});
  world.run();
  const auto model = world.add(temper::honest, pin_class::active_model, "model");
  world.ask(model, {.host_bytes = 50, .pinned_bytes = 0});
  world.run();
  EXPECT_EQ(model->answered, 0U);
  world.advance(std::chrono::seconds{31});
  ASSERT_EQ(model->refusals.size(), 1U);
  EXPECT_THAT(model->refusals.front(), HasSubstr("a cached image"));
}

TEST(pin_arbiter, refuses_at_once_what_can_never_fit) {
  pin_world world{small};
  const auto model = world.add(temper::honest, pin_class::active_model, "model");
  world.ask(model, {.host_bytes = 101, .pinned_bytes = 0});
  world.run();
  ASSERT_EQ(model->refusals.size(), 1U);
  EXPECT_THAT(model->refusals.front(), HasSubstr("100"));
}

TEST(pin_arbiter, answers_an_owner_that_waits_no_longer) {
  pin_world world{small};
  const auto first = world.add(temper::silent, pin_class::active_model, "first");
  world.ask(first, {.host_bytes = 90, .pinned_bytes = 0});
  const auto second = world.add(temper::honest, pin_class::active_model, "second");
  world.ask(second, {.host_bytes = 50, .pinned_bytes = 0});
  world.run();
  EXPECT_EQ(second->answered, 0U);
  caf::anon_send(world.arbiter, cancel_requests{second->account});
  world.run();
  EXPECT_EQ(second->refusals.size(), 1U);
}

/// One history of five owners; every request must end, and the witness never exceed a limit.
void random_history(uint64_t seed) {
  std::mt19937_64 random{seed};
  pin_world world{{.host_limit_bytes = 60 + random() % 100,
                   .pin_limit_bytes = random() % 4 == 0 ? 0 : 20 + random() % 60,
                   .hysteresis_bytes = random() % 30}};
  for (int i = 0; i < 5; ++i)
    world.add(static_cast<temper>(std::min<uint64_t>(random() % 5, 2)), static_cast<pin_class>(random() % 5),
              "owner " + std::to_string(i));
  for (int i = 0; i < 40 && !testing::Test::HasFatalFailure(); ++i) {
    const auto& who = world.owners[random() % world.owners.size()];
    const auto dice = random() % 100;
    const auto bytes = 1 + random() % 50;
    if (who->killed) {
      world.in_flight.clear();
    } else if (dice < 50) {
      const bool staging = who->cls == pin_class::stream_staging;
      world.ask(who, {.host_bytes = bytes, .pinned_bytes = staging ? bytes : 0}, random() % 2 == 0);
    } else if (dice < 65 && who->asked == who->answered && who->blocks.size() == 1 &&
               who->blocks[0]->hold->bytes().pinned_bytes == 0) {
      world.ask(who, {.host_bytes = 0, .pinned_bytes = 1}, random() % 2 == 0, who->blocks[0]->hold);
    } else if (dice < 75 && !who->blocks.empty()) {
      world.in_flight.push_back(who->blocks.back());
      pin_world::release(*who, who->blocks.size() - 1);
    } else if (dice < 80) {
      caf::anon_send(world.arbiter, account_use{who->account, static_cast<pin_class>(random() % 5), random() % 2 == 0});
    } else if (dice < 84) {
      caf::anon_send(world.arbiter, cancel_requests{who->account});
    } else if (dice < 88) {
      caf::anon_send(world.arbiter, machine_pressure{bytes});
    } else if (dice < 92) {
      world.kill(who);
    } else {
      world.in_flight.clear();
    }
    world.run_shuffled(random, random() % 6);
  }
  world.run_shuffled(random, 1000);
  world.advance(std::chrono::seconds{31});
  for (const auto& who : world.owners)
    EXPECT_EQ(who->asked, who->answered);
}

TEST(pin_arbiter, keeps_every_promise_in_any_order) {
  const auto* text = std::getenv("LONGSHORE_PIN_SCHEDULES");
  const uint64_t count = text == nullptr ? 500 : std::strtoull(text, nullptr, 10);
  for (uint64_t seed = 0; seed < count; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    random_history(seed);
    ASSERT_FALSE(testing::Test::HasFailure());
  }
}

}  // namespace
}  // namespace longshore
