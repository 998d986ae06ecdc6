// Objects of clients' own in the cache: put, leased, evicted and asked back like models, and gone when it says so.
#include <gmock/gmock.h>

#include "tests/actors/actor_fixture.hpp"
#include "tests/actors/counted_object.hpp"

namespace longshore {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr auto one_arena = arena_pool::granule_bytes;

class objects : public testing::Test {
protected:
  ~objects() override { EXPECT_EQ(counts.alive, 0U) << "an object outlived all who could know of it"; }

  put_object object(const std::string& key, uint64_t bytes) { return counted(counts, key, bytes); }

  get_model model(const std::string& key, uint64_t seed = 1) {
    return files.request(key, {files.write(key, 60'000, seed)});
  }
  static get_model look_up(const std::string& key) {
    return {.key = key, .kind = model_kind::ckpt, .mode = cache_mode::read_only};
  }

  static model_answer put(actor_world& world, const put_object& request) {
    const auto asked = world.put(request);
    world.run();
    EXPECT_EQ(asked->answers.size(), 1U);
    return asked->answers.empty() ? model_answer{} : std::move(asked->answers.front());
  }

  template <class Message>
  static cache_answer tell(actor_world& world, const Message& message) {
    const auto asked = world.ask<cache_answer>(world.registry, message);
    world.run();
    return asked->answers.at(0);
  }

  static pin_status budget(actor_world& world) {
    const auto asked = world.ask<pin_status>(world.arbiter, show_pins{});
    world.run();
    return asked->answers.at(0);
  }

  /// All but those of the actors that serve casts and devices.
  static std::vector<account_info> accounts_of_objects(actor_world& world) {
    auto all = budget(world).accounts;
    std::erase_if(all, [](const account_info& one) { return one.spec.cls == pin_class::stream_staging; });
    return all;
  }

  static void press(actor_world& world, uint64_t bytes) {
    caf::anon_send(world.arbiter, machine_pressure{bytes});
    world.run();
  }

  static std::vector<std::string> keys(actor_world& world) {
    std::vector<std::string> all;
    for (const auto& entry : world.list().entries)
      all.push_back(entry.key);
    return all;
  }

  /// A put that ends early: at every step of its way, until it is over before that. Nothing may be left of it.
  template <class End>
  void at_every_step(End end) {
    bool over = false;
    for (size_t n = 0; !over && !HasFailure(); ++n) {
      SCOPED_TRACE("ended after " + std::to_string(n) + " events");
      actor_world world;
      const auto asked = world.put(object("latent", one_arena));
      over = world.run(n) < n;
      end(world, *asked);
      world.run();
      world.advance(std::chrono::minutes{2});
      asked->answers.clear();
      world.run();
      const auto stopped = world.stop();
      world.run();
      EXPECT_EQ(counts.alive, 0U);
    }
  }

  object_counts counts;
  model_files files;
};

TEST_F(objects, are_put_found_and_listed) {
  actor_world world;
  const auto request = object("latent", 3000);
  const auto given = put(world, request);
  ASSERT_TRUE(given.lease) << to_text(given.reason);
  EXPECT_EQ(given.lease->model().object.get(), request.payload.get());
  EXPECT_THAT(given.lease->model().files, IsEmpty());
  EXPECT_THAT(given.lease->model().reports, IsEmpty());
  EXPECT_FALSE(given.hit);
  const auto found = world.load(look_up("latent"));
  EXPECT_TRUE(found.hit);
  EXPECT_EQ(object_of(found), object_of(given));
  EXPECT_EQ(found.lease->model().generation, given.lease->model().generation);
  const auto listed = world.list();
  EXPECT_EQ(listed.entries.at(0).hold, hold_mode::object);
  EXPECT_EQ(listed.entries.at(0).leases, 2U);
  EXPECT_EQ(listed.used_bytes, 3000U);
  EXPECT_EQ(listed.counts.puts, 1U);
  EXPECT_EQ(listed.counts.hits, 1U);
  const auto accounts = accounts_of_objects(world);
  ASSERT_EQ(accounts.size(), 1U);
  EXPECT_EQ(accounts[0].spec.name, "latent");
  EXPECT_EQ(accounts[0].spec.cls, pin_class::active_model);
  EXPECT_EQ(accounts[0].held.host_bytes, 3000U);
}

TEST_F(objects, of_no_bytes_are_objects_too) {
  actor_world world;
  EXPECT_TRUE(put(world, object("flag", 0)).lease);
  EXPECT_EQ(object_of(world.load(look_up("flag")))->key(), "flag");
  EXPECT_EQ(budget(world).used.host_bytes, 0U);
  world.stop_and_expect_empty();
}

TEST_F(objects, stay_as_long_as_a_lease_whatever_becomes_of_their_key) {
  actor_world world;
  auto first = put(world, object("latent", 10));
  const auto second = put(world, object("latent", 20));
  EXPECT_GT(second.lease->model().generation, first.lease->model().generation);
  EXPECT_EQ(counts.alive, 2U);
  EXPECT_EQ(budget(world).used.host_bytes, 30U);
  first.lease.reset();
  world.run();
  EXPECT_EQ(counts.alive, 1U) << "what was replaced goes with its last lease";
  EXPECT_TRUE(tell(world, remove_model{"latent"}).done);
  EXPECT_EQ(object_of(second)->key(), "latent");
}

TEST_F(objects, go_when_they_are_replaced_removed_or_cleared) {
  actor_world world;
  put(world, object("a", 10));
  put(world, object("a", 20));
  world.run();
  EXPECT_EQ(counts.alive, 1U);
  EXPECT_TRUE(tell(world, remove_model{"a"}).done);
  EXPECT_EQ(counts.alive, 0U);
  put(world, object("b", 20));
  EXPECT_TRUE(tell(world, clear_models{}).done);
  EXPECT_EQ(counts.alive, 0U);
  EXPECT_EQ(budget(world).used.host_bytes, 0U);
  EXPECT_THAT(accounts_of_objects(world), IsEmpty());
  EXPECT_EQ(world.list().counts.evictions, 0U);
}

TEST_F(objects, that_make_no_sense_are_refused_and_let_go) {
  actor_world world;
  put_object nothing{.key = "latent"};
  EXPECT_EQ(put(world, nothing).reason.code, errc::bad_argument);
  EXPECT_EQ(put(world, object("", 10)).reason.code, errc::bad_argument);
  auto read_only = object("latent", 10);
  read_only.mode = cache_mode::read_only;
  EXPECT_EQ(put(world, read_only).reason.code, errc::bad_argument);
  read_only = {};
  world.load(model("a"));
  auto other_kind = object("a", 10);
  other_kind.kind = model_kind::data;
  EXPECT_EQ(put(world, other_kind).reason.code, errc::wrong_kind);
  other_kind.mode = cache_mode::override_cache;
  EXPECT_TRUE(put(world, other_kind).lease);
}

TEST_F(objects, that_no_limit_has_room_for_are_refused_with_names) {
  actor_world world{{.limit_bytes = one_arena}};
  const auto large = put(world, object("large", one_arena + 1));
  EXPECT_EQ(large.reason.code, errc::out_of_budget);
  EXPECT_THAT(large.reason.what, HasSubstr("'large' needs 2097153 bytes"));
  EXPECT_EQ(counts.alive, 0U);
  auto kept = object("kept", one_arena / 2);
  kept.keep = true;
  put(world, kept);
  kept = {};
  const auto refused = put(world, object("b", one_arena));
  EXPECT_EQ(refused.reason.code, errc::out_of_budget);
  EXPECT_THAT(refused.reason.what, HasSubstr("'kept' (kept) with 1048576 bytes"));
  EXPECT_EQ(world.load(model("m")).reason.code, errc::out_of_budget) << "a model is refused beside it too";
  EXPECT_EQ(counts.alive, 1U);
  EXPECT_EQ(world.list().counts.failures, 3U);
}

TEST_F(objects, and_models_make_room_for_each_other_in_order_of_use) {
  actor_world world{{.limit_bytes = 2 * one_arena}};
  world.after_each_event = [&] { EXPECT_LE(world.pool->mapped_bytes() + counts.granted_bytes, world.limit_bytes); };
  object_of(put(world, object("latent", one_arena)))->granted();
  world.load(model("a", 1));
  world.load(model("b", 2));
  EXPECT_EQ(keys(world), (std::vector<std::string>{"a", "b"})) << "the object was used longest ago";
  EXPECT_EQ(counts.alive, 0U);
  object_of(put(world, object("latent", one_arena)))->granted();
  EXPECT_EQ(keys(world), (std::vector<std::string>{"b", "latent"}));
  EXPECT_EQ(world.list().counts.evictions, 2U);
  world.stop_and_expect_empty();
}

TEST_F(objects, that_are_leased_are_waited_for) {
  actor_world world{{.limit_bytes = one_arena}};
  auto leased = put(world, object("latent", one_arena));
  const auto waits = world.get(model("a"));
  world.run();
  const auto waits_too = world.put(object("other", 10));
  world.run();
  EXPECT_FALSE(waits->answered() || waits_too->answered());
  leased.lease.reset();
  world.run();
  ASSERT_TRUE(waits->answered());
  EXPECT_TRUE(files.holds_right_bytes(waits->answers.front()));
  waits->answers.clear();
  world.run();
  EXPECT_TRUE(waits_too->answers.at(0).lease);
}

TEST_F(objects, that_wait_for_memory_do_so_until_a_deadline) {
  actor_world world{{.limit_bytes = one_arena, .memory_timeout = std::chrono::seconds{5}}};
  const auto leased = put(world, object("latent", one_arena));
  auto hasty = object("hasty", 10);
  hasty.deadline = std::chrono::seconds{2};
  const auto gives_up = world.put(std::exchange(hasty, {})), waits = world.put(object("patient", 10));
  world.run();
  EXPECT_EQ(counts.alive, 3U);
  world.advance(std::chrono::seconds{2});
  ASSERT_TRUE(gives_up->answered());
  EXPECT_EQ(gives_up->answers.front().reason.code, errc::timed_out);
  EXPECT_THAT(gives_up->answers.front().reason.what, HasSubstr("no memory for the object \"hasty\""));
  world.advance(std::chrono::seconds{3});
  ASSERT_TRUE(waits->answered());
  EXPECT_EQ(waits->answers.front().reason.code, errc::timed_out);
  EXPECT_THAT(waits->answers.front().reason.what, HasSubstr("'latent' (in use) with 2097152 bytes"));
  EXPECT_EQ(counts.alive, 1U);
}

TEST_F(objects, go_under_pressure_unless_someone_uses_or_keeps_them) {
  actor_world world;
  auto leased = put(world, object("leased", 100));
  put(world, object("idle", 100));
  auto kept = object("kept", 100);
  kept.keep = true;
  put(world, kept);
  kept = {};
  press(world, 1000);
  EXPECT_EQ(keys(world), (std::vector<std::string>{"kept", "leased"}));
  EXPECT_EQ(counts.alive, 2U);
  EXPECT_EQ(budget(world).used.host_bytes, 200U);
  EXPECT_EQ(world.list().counts.evictions, 1U);
  leased.lease.reset();
  world.run();
  press(world, 1000);
  EXPECT_EQ(keys(world), std::vector<std::string>{"kept"});
  EXPECT_TRUE(tell(world, keep_model{"kept", false}).done);
  press(world, 1000);
  EXPECT_EQ(counts.alive, 0U) << "who declined is asked again";
}

TEST_F(objects, that_are_leased_while_they_are_asked_back_stay) {
  for (size_t n = 0; n < 8; ++n) {
    SCOPED_TRACE("leased after " + std::to_string(n) + " events");
    actor_world world;
    put(world, object("latent", 100));
    world.run();
    caf::anon_send(world.arbiter, machine_pressure{1000});
    world.run(n);
    const auto found = world.load(look_up("latent"));
    press(world, 1000);
    EXPECT_EQ(counts.alive, found.lease ? 1U : 0U);
    EXPECT_EQ(budget(world).used.host_bytes, counts.alive * 100);
    for (const auto& account : budget(world).accounts)
      EXPECT_EQ(account.asked_back.host_bytes, 0U) << "it declined, or was let off";
  }
}

TEST_F(objects, are_refused_when_others_hold_the_budget) {
  actor_world world{{.limit_bytes = 1000}};
  pin_answer others;  // such as blocks and staging: the registry does not know of them
  const auto owner = world.system.spawn([&](caf::event_based_actor* self) -> caf::behavior {
    self->request(world.arbiter, caf::infinite, open_account{{.name = "block", .cls = pin_class::active_intermediate}})
        .then([&, self](const account_opened& opened) {
          self->request(world.arbiter, caf::infinite,
                        pin_request{.account = opened.account, .wanted = {.host_bytes = 950, .pinned_bytes = 0}})
              .then([&](const pin_answer& answer) { others = answer; });
        });
    return {[](const pressure&) {}};
  });
  world.run();
  ASSERT_TRUE(others.hold);
  const auto asked = world.put(object("latent", 100));
  world.run();
  world.advance(std::chrono::seconds{30});
  ASSERT_TRUE(asked->answered());
  EXPECT_EQ(asked->answers.front().reason.code, errc::timed_out);
  EXPECT_THAT(asked->answers.front().reason.what, HasSubstr("block"));
  EXPECT_EQ(counts.alive, 0U);
  EXPECT_TRUE(put(world, object("small", 50)).lease);
  others.hold.reset();
  caf::anon_send_exit(owner, caf::exit_reason::user_shutdown);
}

TEST_F(objects, take_the_place_of_arenas_that_are_kept_for_later) {
  actor_world world{{.limit_bytes = 2 * one_arena, .warm_bytes = 2 * one_arena}};
  world.load(model("a"));
  tell(world, clear_models{});
  EXPECT_EQ(world.pool->idle_bytes(), one_arena);
  auto leased = put(world, object("latent", one_arena + 1));
  EXPECT_EQ(world.pool->idle_bytes(), 0U);
  leased.lease.reset();
  tell(world, clear_models{});
  world.load(model("a"));
  tell(world, clear_models{});
  EXPECT_EQ(world.pool->idle_bytes(), one_arena) << "the room is given back";
}

TEST_F(objects, whose_holder_dies_are_no_longer_in_the_cache) {
  actor_world world;
  const auto leased = put(world, object("latent", 100));
  const auto generation = world.list().entries.at(0).generation;
  world.kill(world.last_named("object_holder"));
  world.run();
  EXPECT_EQ(world.load(look_up("latent")).reason.code, errc::not_found);
  EXPECT_EQ(object_of(leased)->key(), "latent") << "a lease is a lease";
  EXPECT_EQ(budget(world).used.host_bytes, 100U) << "its bytes are not free";
  EXPECT_GT(put(world, object("latent", 10)).lease->model().generation, generation);
}

TEST_F(objects, outlive_the_runtime_while_leased_and_no_longer) {
  model_answer leased;
  {
    actor_world world;
    leased = put(world, object("leased", 10));
    put(world, object("idle", 10));
    world.stop_and_expect_empty(1);
    EXPECT_EQ(counts.alive, 1U);
    EXPECT_EQ(put(world, object("late", 10)).reason.code, errc::stopped);
  }
  EXPECT_EQ(object_of(leased)->key(), "leased");
  leased.lease.reset();
  EXPECT_EQ(counts.alive, 0U);
}

TEST_F(objects, end_with_their_client_or_the_registry_at_every_step) {
  at_every_step([](actor_world& world, auto& asked) { world.kill(asked.asker); });
  at_every_step([](actor_world& world, auto&) { world.kill(world.registry); });
}

TEST_F(objects, are_answered_at_every_step_whatever_else_ends) {
  at_every_step([](actor_world& world, auto& asked) {
    if (const auto holder = world.last_named("object_holder"))
      world.kill(holder);
    world.run();
    EXPECT_TRUE(asked.answered());
  });
  at_every_step([](actor_world& world, auto& asked) {
    world.kill(world.arbiter);
    world.run();
    world.advance(std::chrono::minutes{2});
    EXPECT_TRUE(asked.answered());
    EXPECT_TRUE(asked.answers.at(0).lease || asked.answers.at(0).reason.code == errc::stopped);
  });
  at_every_step([](actor_world& world, auto& asked) {
    const auto stopped = world.stop();
    world.run();
    EXPECT_TRUE(asked.answered() && stopped->answered());
  });
}

}  // namespace
}  // namespace longshore
