// An end at every step of a load: whoever goes, and whenever, everything is given back and everyone gets an answer.
#include "tests/actors/actor_fixture.hpp"

namespace longshore {
namespace {

class cancel : public testing::TestWithParam<hold_choice> {
protected:
  /// Runs `end_after(n)` for n = 0, 1, ... events of a load, until the load is over before that. Returns how many.
  template <class EndAfter>
  static size_t at_every_step(EndAfter end_after) {
    for (size_t n = 0;; ++n) {
      SCOPED_TRACE("ended after " + std::to_string(n) + " events");
      const auto descriptors = open_descriptors();
      const bool over = end_after(n);
      EXPECT_EQ(open_descriptors(), descriptors);
      if (over || HasFailure())
        return n;
    }
  }

  void expect_right_or(errc code, const inquiry<model_answer>& asked) const {
    ASSERT_EQ(asked.answers.size(), 1U);
    const auto& answer = asked.answers.front();
    EXPECT_TRUE(answer.lease ? files.holds_right_bytes(answer) : answer.reason.code == code) << to_text(answer.reason);
  }

  model_files files;
  get_model request = files.request("m", {files.write("m", 100'000, 1)}, GetParam());
  static constexpr size_t fewest_events = 20;
};

INSTANTIATE_TEST_SUITE_P(holds, cancel, testing::Values(hold_choice::owned, hold_choice::mapped), [](const auto& hold) {
  return hold.param == hold_choice::owned ? std::string{"owned"} : std::string{"mapped"};
});

TEST_P(cancel, by_a_stop_frees_everything_at_every_step) {
  const auto steps = at_every_step([&](size_t n) {
    actor_world world;
    const auto asked = world.get(request);
    const bool over = world.run(n) < n;
    const auto stopped = world.stop();
    world.run();
    EXPECT_TRUE(stopped->answered());
    expect_right_or(errc::stopped, *asked);
    asked->answers.clear();
    world.stop_and_expect_empty();
    const auto late = world.load(request);
    EXPECT_EQ(late.reason.code, errc::stopped);
    return over;
  });
  EXPECT_GT(steps, fewest_events);
}

TEST_P(cancel, by_the_death_of_the_only_client_frees_everything_at_every_step) {
  const auto steps = at_every_step([&](size_t n) {
    actor_world world;
    auto asked = world.get(request);
    const bool over = world.run(n) < n;
    world.kill(asked->asker);
    world.run();
    EXPECT_EQ(world.used_bytes(), world.list().used_bytes);
    asked.reset();
    world.run();
    EXPECT_TRUE(files.holds_right_bytes(world.load(request))) << "a load given up is in nobody's way";
    world.run();
    world.stop_and_expect_empty();
    return over;
  });
  EXPECT_GT(steps, fewest_events);
}

TEST_P(cancel, by_the_death_of_client_or_holder_takes_back_what_the_disk_did_not_begin) {
  for (const bool client_dies : {true, false}) {
    SCOPED_TRACE(client_dies ? "client" : "holder");
    actor_world world;
    const auto asked = world.get(request);
    world.run_messages();
    world.kill(client_dies ? asked->asker : world.last_named("model_holder"));
    world.run();
    EXPECT_EQ(world.disk.turns.size(), 3U) << "only the reads under way";
    EXPECT_TRUE(world.list().entries.empty());
    EXPECT_EQ(world.used_bytes(), 0U);
  }
}

TEST_P(cancel, by_one_of_two_clients_leaves_the_load_to_the_other) {
  at_every_step([&](size_t n) {
    actor_world world;
    const auto gives_up = world.get(request), stays = world.get(request);
    const bool over = world.run(n) < n;
    world.kill(gives_up->asker);
    world.run();
    EXPECT_TRUE(stays->answered() && files.holds_right_bytes(stays->answers.at(0)));
    return over;
  });
}

TEST_P(cancel, by_the_death_of_the_holder_answers_at_every_step) {
  at_every_step([&](size_t n) {
    actor_world world;
    auto asked = world.get(request);
    const bool over = world.run(n) < n;
    if (auto holder = world.last_named("model_holder"))
      world.kill(holder);
    world.run();
    expect_right_or(errc::stopped, *asked);
    asked.reset();
    world.run();
    EXPECT_EQ(world.used_bytes(), world.list().used_bytes);
    EXPECT_TRUE(files.holds_right_bytes(world.load(request)));
    world.run();
    world.stop_and_expect_empty();
    return over;
  });
}

TEST_P(cancel, by_the_death_of_the_reader_answers_at_every_step) {
  at_every_step([&](size_t n) {
    actor_world world;
    auto asked = world.get(request);
    const bool over = world.run(n) < n;
    world.kill(world.reader);
    world.run();
    expect_right_or(errc::stopped, *asked);
    EXPECT_TRUE(!asked->answers.front().lease || world.load(request).hit) << "what is in memory needs no reader";
    asked.reset();
    auto stopped = world.stop();
    world.run();
    EXPECT_TRUE(stopped->answered());
    EXPECT_EQ(world.used_bytes(), 0U);
    return over;
  });
}

TEST_P(cancel, by_the_death_of_the_registry_frees_everything_at_every_step) {
  at_every_step([&](size_t n) {
    actor_world world;
    auto asked = world.get(request);
    const bool over = world.run(n) < n;
    world.kill(world.registry);
    world.run();
    asked->answers.clear();
    EXPECT_EQ(world.used_bytes(), 0U);
    world.kill(asked->asker);
    return over;
  });
}

TEST_P(cancel, by_the_ticket_deadline_answers_while_the_disk_is_stuck) {
  actor_world world;
  request.deadline = std::chrono::seconds{20};
  const auto asked = world.get(request);
  world.run_messages();
  world.pass_time_with_stuck_disk(std::chrono::milliseconds{19'999});
  EXPECT_FALSE(asked->answered());
  world.pass_time_with_stuck_disk(std::chrono::milliseconds{1});
  ASSERT_EQ(asked->answers.size(), 1U);
  EXPECT_EQ(asked->answers.front().reason.code, errc::timed_out);
  EXPECT_NE(asked->answers.front().reason.what.find("\"m\""), std::string::npos);
  EXPECT_EQ(world.disk.in_flight(), 3U);
  const auto stopped = world.stop();
  world.run_messages();
  EXPECT_FALSE(stopped->answered()) << "a stop waits for the reads that are under way";
  world.run();
  EXPECT_TRUE(stopped->answers.at(0).done);
  EXPECT_EQ(world.used_bytes(), 0U);
}

}  // namespace
}  // namespace longshore
