// Leases, the preloader, shards: what users of the cache rely on.
#include "tests/actors/actor_fixture.hpp"

namespace longshore {
namespace {

constexpr auto one_arena = arena_pool::granule_bytes;

class leases : public testing::Test {
protected:
  get_model request(const std::string& key, uint64_t seed = 1) {
    return files.request(key, {files.write(key, 60'000, seed)});
  }

  template <class Message>
  cache_answer tell(actor_world& world, const Message& message) {
    auto asked = world.ask<cache_answer>(world.registry, message);
    world.run();
    return asked->answers.at(0);
  }

  static std::vector<std::string> keys(actor_world& world) {
    std::vector<std::string> all;
    for (const auto& entry : world.list().entries)
      all.push_back(entry.key);
    return all;
  }

  model_files files;
};

TEST_F(leases, outlive_the_runtime) {
  model_answer answer;
  std::weak_ptr<arena_pool> pool;
  {
    actor_world world;
    pool = world.pool;
    answer = world.load(request("m"));
    world.stop_and_expect_empty(1);
  }
  EXPECT_TRUE(files.holds_right_bytes(answer));
  EXPECT_EQ(pool.lock()->mapped_bytes(), one_arena);
  answer.lease.reset();
  EXPECT_TRUE(pool.expired());
}

TEST_F(leases, keep_removed_models_and_the_last_return_frees) {
  actor_world world;
  auto first = world.load(request("m")), second = first;
  EXPECT_TRUE(tell(world, remove_model{"m"}).done);
  EXPECT_TRUE(keys(world).empty());
  first.lease.reset();
  world.run();
  EXPECT_TRUE(files.holds_right_bytes(second));
  second.lease.reset();
  world.run();
  EXPECT_EQ(world.used_bytes(), 0U);
}

TEST_F(leases, returned_leave_the_model_in_the_cache_until_cleared) {
  actor_world world;
  world.load(request("m"));
  world.run();
  EXPECT_EQ(world.list().entries.at(0).leases, 0U);
  EXPECT_EQ(world.used_bytes(), one_arena);
  EXPECT_TRUE(tell(world, clear_models{}).done);
  EXPECT_EQ(world.used_bytes(), 0U);
}

TEST_F(leases, of_an_answer_that_nobody_reads_come_back) {
  actor_world world;
  auto asked = world.get(request("m"));
  world.run_messages();
  asked.reset();  // the client lives on and drops what it gets
  world.run();
  EXPECT_EQ(world.list().entries.at(0).leases, 0U);
}

TEST_F(leases, kept_models_are_not_evicted_until_they_are_let_go) {
  actor_world world{{.limit_bytes = one_arena}};
  world.load(request("a"));
  EXPECT_TRUE(tell(world, keep_model{"a"}).done);
  EXPECT_EQ(world.load(request("b", 2)).reason.code, errc::out_of_budget);
  EXPECT_TRUE(tell(world, keep_model{"a", false}).done);
  EXPECT_TRUE(world.load(request("b", 2)).lease);
  EXPECT_EQ(keys(world), std::vector<std::string>{"b"});
}

TEST_F(leases, of_what_is_not_there_are_errors_with_names) {
  actor_world world;
  const auto loaded = world.load(request("portrait"));
  const auto missing = world.load({.key = "portrat", .kind = model_kind::ckpt, .mode = cache_mode::read_only});
  EXPECT_EQ(missing.reason.code, errc::not_found);
  EXPECT_NE(missing.reason.what.find("'portrait'"), std::string::npos);
  EXPECT_EQ(tell(world, remove_model{"portrat"}).reason.code, errc::not_found);
  auto other_kind = request("portrait");
  other_kind.kind = model_kind::vae;
  EXPECT_EQ(world.load(other_kind).reason.code, errc::wrong_kind);
}

TEST_F(leases, of_a_preload_end_with_its_report_and_failures_stop_nothing) {
  actor_world world;
  const auto preloader = spawn_preloader(world.system, world.registry);
  std::vector<preload_item> items;
  for (uint64_t i = 0; i < 6; ++i)
    items.push_back({.request = request("m" + std::to_string(i), i)});
  items[1].reason = {.code = errc::not_found, .what = "no such file"};
  fs::resize_file(files.path("m4"), 20);
  size_t most = 0;
  world.after_each_event = [&] { most = std::max(most, world.running_actors()); };
  const auto asked = world.ask<preload_done>(preloader, preload_models{.items = items, .at_once = 2});
  world.run_shuffled(3);
  ASSERT_EQ(asked->answers.size(), 1U);
  const auto& outcomes = asked->answers.front().outcomes;
  ASSERT_EQ(outcomes.size(), 6U);
  for (size_t i = 0; i < 6; ++i) {
    const auto wanted = i == 1 ? errc::not_found : i == 4 ? errc::changed_on_disk : errc{};
    EXPECT_EQ(outcomes[i].answer.reason.code, wanted) << i;
    EXPECT_EQ(outcomes[i].answer.lease != nullptr, wanted == errc{}) << i;
  }
  EXPECT_EQ(keys(world), (std::vector<std::string>{"m0", "m2", "m3", "m5"}));
  asked->answers.clear();
  world.run();
  EXPECT_EQ(world.list().entries.at(0).leases, 0U);
  caf::anon_send_exit(preloader, caf::exit_reason::user_shutdown);
}

TEST_F(leases, of_a_preload_whose_registry_is_gone_say_so) {
  actor_world world;
  const auto preloader = spawn_preloader(world.system, world.registry);
  const auto asked = world.ask<preload_done>(preloader, preload_models{.items = {{.request = request("m")}}});
  world.run(6);
  world.kill(world.registry);
  world.run();
  world.advance(std::chrono::minutes{11});
  ASSERT_EQ(asked->answers.size(), 1U);
  EXPECT_EQ(asked->answers.front().outcomes.at(0).answer.reason.code, errc::stopped);
  caf::anon_send_exit(preloader, caf::exit_reason::user_shutdown);
}

class shards : public leases {
protected:
  shards() {
    files.write("s1", 60'000, 1);
    files.write("s2", 60'000, 2);
  }
  get_model indexed(const std::string& map) {
    return files.request("big", {files.write_text("m.index.json", R"({"weight_map":{)" + map + "}}")});
  }
  const std::string first = R"("s1.a":"s1","s1.b":"s1","s1.c":"s1")";
};

TEST_F(shards, that_agree_with_their_index_are_one_model) {
  actor_world world;
  const auto answer = world.load(indexed(first + R"(,"s2.a":"s2","s2.b":"s2","s2.c":"s2")"));
  ASSERT_TRUE(files.holds_right_bytes(answer)) << to_text(answer.reason);
  EXPECT_EQ(answer.lease->model().files.size(), 2U);
}

TEST_F(shards, that_lack_a_tensor_or_have_one_more_are_an_error_and_leave_nothing) {
  actor_world world;
  const auto lacking = indexed(first + R"(,"s2.a":"s2","s2.b":"s2","s2.c":"s2","s2.d":"s2")");
  const auto asked = world.get(lacking), also = world.get(lacking);
  world.run();
  for (const auto& one : {asked, also}) {
    EXPECT_EQ(one->answers.at(0).reason.code, errc::bad_format);
    EXPECT_EQ(one->answers.at(0).reason.where, "s2.d");
  }
  EXPECT_TRUE(keys(world).empty());
  EXPECT_EQ(world.used_bytes(), 0U);
  const auto extra = world.load(indexed(first + R"(,"s2.a":"s2","s2.b":"s2")"));
  EXPECT_EQ(extra.reason.code, errc::bad_format);
  EXPECT_EQ(extra.reason.where, "s2.c");
  world.run();
  EXPECT_EQ(world.used_bytes(), 0U);
}

TEST_F(shards, that_disagree_leave_no_noise_on_the_screen) {
  testing::internal::CaptureStderr();
  {
    actor_world world;
    world.load(indexed(first));
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace longshore
