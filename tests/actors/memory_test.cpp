// The limit on memory: never exceeded, by anyone's count, and refusals that say who holds what.
#include "tests/actors/actor_fixture.hpp"
#include "tests/actors/mapping_witness.hpp"

namespace longshore {
namespace {

constexpr auto one_arena = arena_pool::granule_bytes;

class memory : public testing::Test {
protected:
  get_model request(const std::string& key, uint64_t seed) {
    return files.request(key, {files.write(key, 60'000, seed)});
  }
  model_files files;
};

TEST_F(memory, witnesses_agree_with_the_pool) {
  const auto pool = arena_pool::make(16 * one_arena, 16 * one_arena);
  const auto before = arena_bytes_in_smaps();
  {
    const auto a = pool->acquire(3 * one_arena), b = pool->acquire(one_arena);
    EXPECT_EQ(arena_bytes_in_smaps() - before, 4 * one_arena);
    EXPECT_EQ(arena_calls::bytes_now(), 4 * one_arena);
  }
  const auto smaller = pool->acquire(2 * one_arena);  // out of the larger one, whose rest is unmapped
  EXPECT_EQ(arena_bytes_in_smaps() - before, pool->mapped_bytes());
  EXPECT_EQ(arena_calls::bytes_now(), pool->mapped_bytes());
}

TEST_F(memory, two_keys_under_a_limit_for_one_are_never_both_there) {
  const auto a = request("a", 1), b = request("b", 2);
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    actor_world world{{.limit_bytes = one_arena, .warm_bytes = seed % 2 * one_arena}};
    const auto asked_a = world.get(a), asked_b = world.get(b);
    uint64_t most = 0;
    arena_calls::forget_most();
    world.after_each_event = [&] {
      const auto now = arena_bytes_in_smaps();
      EXPECT_LE(now, one_arena);
      most = std::max(most, now);
      for (const auto& asked : {asked_a, asked_b})
        for (auto& answer : asked->answers) {
          EXPECT_TRUE(answer.lease == nullptr || files.holds_right_bytes(answer));
          answer.lease.reset();  // the other can only come in now
        }
    };
    world.run_shuffled(seed);
    EXPECT_TRUE(asked_a->answered() && asked_b->answered());
    EXPECT_EQ(asked_a->answers.at(0).reason.what + asked_b->answers.at(0).reason.what, "");
    EXPECT_EQ(most, one_arena);
    EXPECT_EQ(arena_calls::bytes_at_most(), one_arena);
    EXPECT_EQ(world.list().entries.size(), 1U);
    world.after_each_event = [] {};
    world.stop_and_expect_empty();
  }
}

TEST_F(memory, a_model_larger_than_the_limit_is_refused_at_once) {
  actor_world world{{.limit_bytes = one_arena}};
  const auto answer = world.load(files.request("big", {files.write("big", one_arena + 1, 1)}));
  EXPECT_EQ(answer.reason.code, errc::out_of_budget);
  EXPECT_NE(answer.reason.what.find("2097152 bytes more than the limit"), std::string::npos) << answer.reason.what;
  EXPECT_EQ(answer.reason.path, files.path("big"));
  EXPECT_EQ(world.pool->mapped_bytes(), 0U);
}

TEST_F(memory, a_refusal_names_the_kept_models_that_leave_no_room) {
  actor_world world{{.limit_bytes = one_arena}};
  auto kept = request("portrait", 1);
  kept.keep = true;
  world.load(kept);
  const auto answer = world.load(request("b", 2));
  EXPECT_EQ(answer.reason.code, errc::out_of_budget);
  EXPECT_NE(answer.reason.what.find("'portrait' (kept) with 2097152 bytes"), std::string::npos) << answer.reason.what;
}

TEST_F(memory, a_wait_for_leases_ends_at_its_deadline_and_names_them) {
  actor_world world{{.limit_bytes = one_arena, .memory_timeout = std::chrono::seconds{5}}};
  const auto leased = world.load(request("portrait", 1));
  const auto asked = world.get(request("b", 2));
  world.run();
  world.advance(std::chrono::milliseconds{4999});
  EXPECT_FALSE(asked->answered());
  world.advance(std::chrono::milliseconds{1});
  ASSERT_EQ(asked->answers.size(), 1U);
  EXPECT_EQ(asked->answers.front().reason.code, errc::timed_out);
  EXPECT_NE(asked->answers.front().reason.what.find("'portrait' (in use)"), std::string::npos);
  EXPECT_TRUE(files.holds_right_bytes(leased));
}

TEST_F(memory, a_returned_lease_makes_room_for_who_waits) {
  actor_world world{{.limit_bytes = one_arena}};
  auto leased = world.load(request("a", 1));
  const auto asked = world.get(request("b", 2));
  world.run();
  EXPECT_TRUE(files.holds_right_bytes(leased));
  EXPECT_FALSE(asked->answered()) << "what is leased is never evicted";
  leased.lease.reset();
  world.run();
  ASSERT_TRUE(asked->answered());
  EXPECT_TRUE(files.holds_right_bytes(asked->answers.front()));
  EXPECT_EQ(world.used_bytes(), one_arena);
}

TEST_F(memory, mapped_models_need_none_of_it) {
  actor_world world{{.limit_bytes = one_arena}};
  std::vector<model_answer> leased;
  for (uint64_t i = 0; i < 4; ++i) {
    const auto name = "m" + std::to_string(i);
    leased.push_back(world.load(files.request(name, {files.write(name, 3 * one_arena, i)}, hold_choice::mapped)));
    ASSERT_TRUE(files.holds_right_bytes(leased.back())) << leased.back().reason.what;
    EXPECT_TRUE(leased.back().lease->model().files.at(0)->is_mapped());
  }
  EXPECT_EQ(world.pool->mapped_bytes(), 0U);
}

}  // namespace
}  // namespace longshore
