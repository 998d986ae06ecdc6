// Loads that nobody waits for at the call: one word each, whatever happens to them.
#include "actors/load_client.hpp"
#include "tests/actors/actor_fixture.hpp"

namespace longshore {
namespace {

class load_client : public testing::Test {
protected:
  caf::actor begin(actor_world& world) {
    return spawn_load_client(world.system, world.registry, request,
                             [this](const expected<model_answer>& answer) { answers.push_back(answer); });
  }

  model_files files;
  get_model request = files.request("m", {files.write("m", 100'000, 1)});
  std::vector<expected<model_answer>> answers;
};

TEST_F(load_client, hands_the_answer_over_and_ends) {
  actor_world world;
  const auto before = world.running_actors();
  begin(world);
  world.run();
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_TRUE(answers[0] && files.holds_right_bytes(*answers[0]));
  EXPECT_EQ(world.running_actors(), before + 1) << "the file's holder";
}

TEST_F(load_client, says_why_there_is_no_lease) {
  actor_world world;
  request.source.files.clear();
  begin(world);
  world.run();
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(answers[0].error().code, errc::bad_argument);
}

TEST_F(load_client, cancelled_at_any_step_says_one_word_and_leaves_no_load) {
  size_t steps = 0;
  for (bool over = false; !over; ++steps) {
    SCOPED_TRACE("cancelled after " + std::to_string(steps) + " events");
    answers.clear();
    actor_world world;
    const auto client = begin(world);
    over = world.run(steps) < steps;
    caf::anon_send(client, cancel_request{});
    world.run();
    ASSERT_EQ(answers.size(), 1U);
    EXPECT_TRUE(answers[0] ? files.holds_right_bytes(*answers[0]) : answers[0].error().code == errc::cancelled);
    EXPECT_EQ(world.used_bytes() == 0, world.list().entries.empty()) << "only a load that was over stays in the cache";
    answers.clear();
    world.run();
    world.stop_and_expect_empty();
  }
  EXPECT_GT(steps, 10U);
}

TEST_F(load_client, cancelled_leaves_the_load_to_others) {
  actor_world world;
  const auto other = world.get(request);
  const auto client = begin(world);
  world.run_messages();
  caf::anon_send(client, cancel_request{});
  world.run();
  EXPECT_EQ(answers.at(0).error().code, errc::cancelled);
  ASSERT_EQ(other->answers.size(), 1U);
  EXPECT_TRUE(files.holds_right_bytes(other->answers[0]));
}

TEST_F(load_client, that_is_killed_still_says_a_word) {
  actor_world world;
  const auto client = begin(world);
  world.run_messages();
  world.kill(client);
  world.run();
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(answers[0].error().code, errc::stopped);
}

}  // namespace
}  // namespace longshore
