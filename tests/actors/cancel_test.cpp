// An end at every step of a load: whoever goes, and whenever, everything is given back and everyone gets an answer.
#include "tests/actors/actor_fixture.hpp"

namespace longshore {
namespace {

/// A way for a file to get into memory.
struct way_of_loading {
  const char* name;
  hold_choice hold;
  const char* cast_to = "";
  page_cache_mode page_cache = page_cache_mode::buffered;

  bool is_cast() const { return *cast_to != 0; }
};

class cancel : public testing::TestWithParam<way_of_loading> {
protected:
  world_options options() const {
    world_options made;
    made.holder.page_cache = GetParam().page_cache;
    return made;
  }

  static const char* holder_name() { return GetParam().is_cast() ? "cast_holder" : "model_holder"; }

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
  get_model request =
      files.request("m", {files.write("m", {{"m.a", 50'000, "F16", 2}, {"m.b", 1}, {"m.c", 50'000}}, 1)},
                    GetParam().hold, GetParam().cast_to);
  static constexpr size_t fewest_events = 20;
};

const way_of_loading owned{"owned", hold_choice::owned}, mapped{"mapped", hold_choice::mapped},
    cast_from_cache{"cast_from_cache", hold_choice::owned, "F32"},
    cast_from_disk{"cast_from_disk", hold_choice::owned, "F32", page_cache_mode::direct};

const auto name_of_way = [](const auto& param) { return std::string{param.param.name}; };

INSTANTIATE_TEST_SUITE_P(ways, cancel, testing::Values(owned, mapped, cast_from_cache, cast_from_disk), name_of_way);

/// Of what the disk has to be asked for.
using cancel_of_reads = cancel;

INSTANTIATE_TEST_SUITE_P(ways, cancel_of_reads, testing::Values(owned, mapped, cast_from_disk), name_of_way);

using cancel_of_casts = cancel;

INSTANTIATE_TEST_SUITE_P(ways, cancel_of_casts, testing::Values(cast_from_cache, cast_from_disk), name_of_way);

TEST_P(cancel, by_a_stop_frees_everything_at_every_step) {
  const auto steps = at_every_step([&](size_t n) {
    actor_world world{options()};
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
    actor_world world{options()};
    auto asked = world.get(request);
    const bool over = world.run(n) < n;
    world.kill(asked->asker);
    world.run();
    world.outlast_idle_scratch();
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

TEST_P(cancel_of_reads, by_the_death_of_client_or_holder_takes_back_what_the_disk_did_not_begin) {
  for (const bool client_dies : {true, false}) {
    SCOPED_TRACE(client_dies ? "client" : "holder");
    actor_world world{options()};
    const auto asked = world.get(request);
    world.run_messages();
    world.kill(client_dies ? asked->asker : world.last_named(holder_name()));
    world.run();
    EXPECT_EQ(world.disk.turns.size(), 3U) << "only the reads under way";
    EXPECT_TRUE(world.list().entries.empty());
    world.outlast_idle_scratch();
    EXPECT_EQ(world.used_bytes(), 0U);
  }
}

TEST_P(cancel, by_one_of_two_clients_leaves_the_load_to_the_other) {
  at_every_step([&](size_t n) {
    actor_world world{options()};
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
    actor_world world{options()};
    auto asked = world.get(request);
    const bool over = world.run(n) < n;
    if (auto holder = world.last_named(holder_name()))
      world.kill(holder);
    world.run();
    expect_right_or(errc::stopped, *asked);
    asked.reset();
    world.run();
    world.outlast_idle_scratch();
    EXPECT_EQ(world.used_bytes(), world.list().used_bytes);
    EXPECT_TRUE(files.holds_right_bytes(world.load(request)));
    world.run();
    world.stop_and_expect_empty();
    return over;
  });
}

TEST_P(cancel, by_the_death_of_the_reader_answers_at_every_step) {
  at_every_step([&](size_t n) {
    actor_world world{options()};
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
    world.outlast_idle_scratch();
    EXPECT_EQ(world.used_bytes(), 0U);
    return over;
  });
}

TEST_P(cancel, by_the_death_of_the_registry_frees_everything_at_every_step) {
  at_every_step([&](size_t n) {
    actor_world world{options()};
    auto asked = world.get(request);
    const bool over = world.run(n) < n;
    world.kill(world.registry);
    world.run();
    asked->answers.clear();
    world.outlast_idle_scratch();
    EXPECT_EQ(world.used_bytes(), 0U);
    world.kill(asked->asker);
    return over;
  });
}

TEST_P(cancel_of_reads, by_the_ticket_deadline_answers_while_the_disk_is_stuck) {
  actor_world world{options()};
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
  world.outlast_idle_scratch();
  EXPECT_EQ(world.used_bytes(), 0U);
}

TEST_P(cancel_of_casts, by_the_death_of_who_serves_them_answers_at_every_step) {
  for (const char* victim : {"host_caster", "stream_stager"})
    at_every_step([&](size_t n) {
      SCOPED_TRACE(victim);
      actor_world world{options()};
      auto asked = world.get(request);
      const bool over = world.run(n) < n;
      world.kill(victim == std::string{"host_caster"} ? world.casting.casters[0] : world.casting.stager);
      world.run();
      expect_right_or(errc::stopped, *asked);
      asked.reset();
      const auto stopped = world.stop();
      world.run();
      EXPECT_TRUE(stopped->answered());
      world.outlast_idle_scratch();
      EXPECT_EQ(world.used_bytes(), 0U);
      return over;
    });
}

}  // namespace
}  // namespace longshore
