// One test a rule of keys, files, tickets and leases. Memory is in registry_memory_test.cpp, what all rules do together
// in registry_property_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "registry_fixture.hpp"

using namespace longshore;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

namespace {

// Hits, joins and modes

TEST_F(registry_rules, a_miss_loads_and_a_second_request_hits) {
  auto first = load("a", 1, 10);
  EXPECT_FALSE(first.hit);
  auto again = cache.get(request("a", {source(1)}));
  ASSERT_THAT(again, SizeIs(1));
  auto second = pick<complete>(again).at(0);
  EXPECT_TRUE(second.hit);
  EXPECT_EQ(second.files, first.files);
  EXPECT_EQ(second.generation, first.generation);
  EXPECT_NE(second.lease, first.lease);
}

TEST_F(registry_rules, requests_for_a_key_that_loads_wait_for_that_load) {
  auto file = start(request("a", {source(1)}));
  for (int i = 0; i < 63; ++i)
    EXPECT_THAT(cache.get(request("a", {source(1)})), IsEmpty());
  EXPECT_THAT(pick<complete>(bring_in(file, 10)), SizeIs(64));
}

TEST_F(registry_rules, nothing_is_visible_before_the_last_file_is_ready) {
  auto files = files_of<start_load>(cache.get(request("a", {source(1), source(2)})));
  EXPECT_THAT(pick<complete>(bring_in(files.at(0), 10)), IsEmpty());
  EXPECT_THAT(cache.list(), IsEmpty());
  EXPECT_THAT(pick<complete>(bring_in(files.at(1), 10)), SizeIs(1));
  EXPECT_THAT(cache.list(), SizeIs(1));
}

TEST_F(registry_rules, a_file_of_several_keys_is_read_and_held_once) {
  auto first = load("a", 1, 10);
  auto answers = cache.get(request("b", {source(1)}));
  EXPECT_THAT(pick<start_load>(answers), IsEmpty());
  EXPECT_EQ(pick<complete>(answers).at(0).files, first.files);
  EXPECT_EQ(cache.used_bytes(), 10u);

  auto shared = files_of<start_load>(cache.get(request("c", {source(2), source(2), source(1)})));
  ASSERT_THAT(shared, SizeIs(1));
  auto answer = pick<complete>(bring_in(shared.at(0), 10)).at(0);
  EXPECT_THAT(answer.files, ElementsAre(shared.at(0), shared.at(0), first.files.at(0)));
}

TEST_F(registry_rules, a_file_is_the_same_under_another_path_and_not_when_held_otherwise) {
  load("a", 1, 10);
  auto linked = source(1);
  linked.path = "/elsewhere/hard-link";
  EXPECT_THAT(pick<complete>(cache.get(request("a", {linked}))), SizeIs(1));
  EXPECT_THAT(pick<start_load>(cache.get(request("a", {source(1, hold_mode::mapped)}))), SizeIs(1));
}

TEST_F(registry_rules, who_does_not_care_how_a_file_is_held_takes_what_is_there) {
  load("owned", 1, 10);
  auto either = source(1, hold_mode::mapped);
  either.any_hold = true;
  auto hit = pick<complete>(cache.get(request("owned", {either})));
  ASSERT_EQ(hit.size(), 1u);
  EXPECT_TRUE(hit[0].hit);
  EXPECT_TRUE(files_of<start_load>(cache.get(request("another key", {either}))).empty());
  EXPECT_EQ(files_of<start_load>(cache.get(request("strict", {source(1, hold_mode::mapped)}))).size(), 1u);
}

TEST_F(registry_rules, another_layout_of_the_same_files_is_another_model) {
  load("a", 1, 10);
  auto other = request("a", {source(1)});
  other.layout_tag = "index of another shape";
  auto answer = pick<complete>(cache.get(other)).at(0);
  EXPECT_EQ(cache.generation("a"), answer.generation);
  EXPECT_EQ(cache.file_count(), 1u);
}

TEST_F(registry_rules, a_replaced_file_is_loaded_anew_and_the_old_one_serves_until_then) {
  auto old = load("a", 1, 10);
  auto file = start(request("a", {source(2)}));
  EXPECT_EQ(pick<complete>(cache.get(look_up("a"))).at(0).files, old.files);
  auto fresh = pick<complete>(bring_in(file, 10)).at(0);
  EXPECT_GT(fresh.generation, old.generation);
  EXPECT_EQ(pick<complete>(cache.get(look_up("a"))).at(0).files, fresh.files);
}

TEST_F(registry_rules, override_reads_anew_and_later_requests_find_the_newest) {
  auto a = load("a", 1, 10);
  auto b = pick<complete>(cache.get(request("b", {source(1)}))).at(0);
  EXPECT_EQ(a.files, b.files);
  auto forced = request("a", {source(1), source(1)}, cache_mode::override_cache);
  auto started = files_of<start_load>(cache.get(forced));
  ASSERT_THAT(started, SizeIs(1)) << "a file named twice in one request is still one";
  bring_in(started.at(0), 10);
  EXPECT_EQ(pick<complete>(cache.get(request("b", {source(1)}))).at(0).files, b.files);
  EXPECT_EQ(pick<complete>(cache.get(request("c", {source(1)}))).at(0).files.at(0), started.at(0));
}

TEST_F(registry_rules, override_may_change_the_kind) {
  load("a", 1, 10);
  auto forced = request("a", {source(1)}, cache_mode::override_cache);
  forced.kind = model_kind::vae;
  bring_in(start(forced), 10);
  EXPECT_EQ(cache.list().at(0).kind, model_kind::vae);
}

TEST_F(registry_rules, a_read_only_request_may_take_any_kind) {
  const auto there = load("a", 1, 10);
  auto any = look_up("a");
  any.kind = model_kind::vae;
  EXPECT_EQ(pick<fail>(cache.get(any)).at(0).reason.code, errc::wrong_kind);
  any.ticket = 77;
  any.any_kind = true;
  EXPECT_EQ(pick<complete>(cache.get(any)).at(0).files, there.files);
}

TEST_F(registry_rules, what_is_unshared_is_nobody_elses_and_under_no_key) {
  const auto shared = load("a", 1, 10);
  auto mine = request("a", {source(1)}, cache_mode::unshared);
  mine.kind = model_kind::vae;
  const auto file = start(mine);
  EXPECT_THAT(files_of<start_load>(cache.get(request("b", {source(1)}))), IsEmpty()) << "b shares with a";
  const auto given = pick<complete>(bring_in(file, 10)).at(0);
  EXPECT_FALSE(given.hit);
  EXPECT_EQ(pick<complete>(cache.get(request("a", {source(1)}))).at(0).files, shared.files);
  EXPECT_EQ(cache.generation("a"), shared.generation);
  EXPECT_EQ(files_of<drop_file>(cache.lease_returned(given.lease)), std::vector{file});
}

TEST_F(registry_rules, an_unshared_load_in_the_making_is_joined_by_none) {
  const auto first = start(request("a", {source(1)}, cache_mode::unshared));
  EXPECT_NE(start(request("a", {source(1)}, cache_mode::unshared)), first);
  EXPECT_NE(start(request("a", {source(1)})), first);
}

TEST_F(registry_rules, of_several_loads_of_a_key_the_newest_started_is_what_stays) {
  auto older = start(request("a", {source(1)}));
  auto newer = start(request("a", {source(2)}));
  auto now = pick<complete>(bring_in(newer, 10)).at(0);
  auto late = pick<complete>(bring_in(older, 10)).at(0);
  EXPECT_EQ(late.files.at(0), older);
  EXPECT_EQ(cache.list().at(0).files, now.files);
  EXPECT_EQ(cache.generation("a"), now.generation);
  EXPECT_NE(late.generation, now.generation);
  EXPECT_EQ(files_of<drop_file>(cache.lease_returned(late.lease)), std::vector{older});
  EXPECT_EQ(cache.list().at(0).leases, 1u);
}

TEST_F(registry_rules, another_kind_is_refused_and_both_are_named) {
  load("a", 1, 10);
  auto wrong = request("a", {source(1)});
  wrong.kind = model_kind::vae;
  auto reason = pick<fail>(cache.get(wrong)).at(0).reason;
  EXPECT_EQ(reason.code, errc::wrong_kind);
  EXPECT_EQ(reason.what, "'a' is a ckpt, not a vae");
  start(request("b", {source(2)}));
  wrong.key = "b";
  EXPECT_EQ(pick<fail>(cache.get(wrong)).at(0).reason.code, errc::wrong_kind) << "known while it loads";
}

TEST_F(registry_rules, read_only_hits_or_joins_and_never_loads) {
  load("flux-dev", 1, 10);
  EXPECT_THAT(pick<complete>(cache.get(look_up("flux-dev"))), SizeIs(1));
  auto file = start(request("flux-schnell", {source(2)}));
  EXPECT_THAT(cache.get(look_up("flux-schnell")), IsEmpty());
  EXPECT_THAT(pick<complete>(bring_in(file, 10)), SizeIs(2));
  auto reason = pick<fail>(cache.get(look_up("flux-dve"))).at(0).reason;
  EXPECT_EQ(reason.code, errc::not_found);
  EXPECT_THAT(reason.what, HasSubstr("'flux-dve'"));
  EXPECT_THAT(reason.what, HasSubstr("nearest keys: 'flux-dev'"));
}

TEST_F(registry_rules, a_request_needs_a_key_and_files) {
  EXPECT_EQ(pick<fail>(cache.get(look_up(""))).at(0).reason.code, errc::bad_argument);
  EXPECT_EQ(pick<fail>(cache.get(request("", {source(1)}))).at(0).reason.code, errc::bad_argument);
  EXPECT_EQ(pick<fail>(cache.get(request("a", {}))).at(0).reason.code, errc::bad_argument);
}

TEST_F(registry_rules, an_urgent_request_promotes_a_prefetch_once) {
  auto files = files_of<start_load>(cache.get(request("a", {source(1), source(2)})));
  bring_in(files.at(0), 10);
  auto urgent = request("a", {source(1), source(2)});
  urgent.urgent = true;
  EXPECT_EQ(files_of<promote>(cache.get(urgent)), std::vector{files.at(1)}) << "a ready file needs no promotion";
  urgent.ticket += 100000;
  EXPECT_THAT(cache.get(urgent), IsEmpty());
  auto other_key = request("b", {source(2), source(3)});
  other_key.urgent = true;
  other_key.ticket += 200000;
  auto started = cache.get(other_key);
  EXPECT_THAT(pick<promote>(started), IsEmpty());
  EXPECT_TRUE(pick<start_load>(started).at(0).urgent);
}

// Giving up, failing, stopping

TEST_F(registry_rules, a_load_that_all_gave_up_on_is_cancelled) {
  auto first = request("a", {source(1)}), second = request("a", {source(1)});
  auto file = start(first);
  cache.get(second);
  auto answers = cache.give_up(first.ticket);
  EXPECT_EQ(pick<fail>(answers).at(0).reason.code, errc::cancelled);
  EXPECT_THAT(pick<cancel_load>(answers), IsEmpty());
  EXPECT_THAT(cache.give_up(first.ticket), IsEmpty()) << "answered before";
  EXPECT_EQ(files_of<cancel_load>(cache.give_up(second.ticket)), std::vector{file});
  EXPECT_NE(start(request("a", {source(1)})), file) << "what is being cancelled serves nobody";
  EXPECT_THAT(cache.file_opened(file, 10), IsEmpty()) << "crossed the order on its way";
  cache.file_dropped(file);
  EXPECT_EQ(cache.file_count(), 1u);
}

TEST_F(registry_rules, giving_up_spares_the_files_that_another_load_needs) {
  auto both = request("a", {source(1), source(2)});
  auto files = files_of<start_load>(cache.get(both));
  cache.get(request("b", {source(1)}));
  EXPECT_EQ(files_of<cancel_load>(cache.give_up(both.ticket)), std::vector{files.at(1)});
}

TEST_F(registry_rules, a_failing_file_fails_every_load_that_needs_it_with_the_same_error) {
  auto files = files_of<start_load>(cache.get(request("a", {source(1), source(2), source(3)})));
  cache.get(request("b", {source(1)}));
  cache.get(request("c", {source(3)}));
  bring_in(files.at(1), 10);
  const error reason{errc::io_failed, "cannot read", "/models/1", 4096, "", 5};
  auto answers = cache.file_failed(files.at(0), reason);
  auto failed = pick<fail>(answers);
  ASSERT_THAT(failed, SizeIs(2));
  EXPECT_EQ(failed.at(0).reason, reason);
  EXPECT_EQ(failed.at(1).reason, reason);
  EXPECT_EQ(files_of<drop_file>(answers), std::vector{files.at(1)});
  EXPECT_THAT(pick<cancel_load>(answers), IsEmpty()) << "c still needs the third";
  EXPECT_THAT(cache.list(), IsEmpty());
  EXPECT_THAT(cache.file_failed(files.at(0), reason), IsEmpty());
}

TEST_F(registry_rules, a_holder_that_dies_with_a_ready_file_takes_its_entries_along) {
  auto answer = load("a", 1, 10);
  cache.file_failed(answer.files.at(0), {errc::io_failed, "the holder died"});
  EXPECT_THAT(cache.list(), IsEmpty());
  EXPECT_GT(cache.generation("a"), answer.generation);
  EXPECT_EQ(cache.used_bytes(), 0u);
  EXPECT_THAT(cache.lease_returned(answer.lease), IsEmpty());
}

TEST_F(registry_rules, stop_fails_cancels_and_drops_all_but_what_is_leased) {
  auto leased = load("leased", 1, 10);
  auto idle = load_idle("idle", 2, 10, true);
  auto loading = start(request("loading", {source(3)}));
  auto answers = cache.stop();
  EXPECT_EQ(pick<fail>(answers).at(0).reason.code, errc::stopped);
  EXPECT_EQ(files_of<cancel_load>(answers), std::vector{loading});
  EXPECT_EQ(files_of<drop_file>(answers), std::vector{idle});
  EXPECT_EQ(pick<fail>(cache.get(request("leased", {source(1)}))).at(0).reason.code, errc::stopped);
  EXPECT_EQ(files_of<drop_file>(cache.lease_returned(leased.lease)), leased.files);
}

// Keep, remove, clear, list

TEST_F(registry_rules, remove_takes_even_what_is_kept_and_leaves_leased_files_alone) {
  auto answer = load("a", 1, 10, true);
  auto removed = cache.remove("a");
  ASSERT_TRUE(removed);
  EXPECT_THAT(*removed, IsEmpty());
  EXPECT_THAT(cache.list(), IsEmpty());
  EXPECT_EQ(cache.used_bytes(), 10u);
  EXPECT_EQ(files_of<drop_file>(cache.lease_returned(answer.lease)), answer.files);
  EXPECT_THAT(cache.lease_returned(answer.lease), IsEmpty()) << "returned before";
  EXPECT_EQ(cache.used_bytes(), 10u) << "counts until the memory is really free";
  cache.file_dropped(answer.files.at(0));
  EXPECT_EQ(cache.used_bytes(), 0u);
}

TEST_F(registry_rules, remove_and_keep_of_a_missing_key_name_the_nearest) {
  load("sdxl", 1, 10);
  for (const auto& result : {cache.remove("sdxI"), cache.keep("sdxI", true)}) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, errc::not_found);
    EXPECT_THAT(result.error().what, HasSubstr("'sdxl'"));
  }
}

TEST_F(registry_rules, a_leased_file_whose_entry_is_gone_still_serves_new_requests) {
  auto answer = load("a", 1, 10);
  cache.clear();
  EXPECT_EQ(pick<complete>(cache.get(request("b", {source(1)}))).at(0).files, answer.files);
}

TEST_F(registry_rules, keep_outlives_a_replacement) {
  load_idle("a", 1, 10, true);
  bring_in(start(request("a", {source(2)})), 10);
  EXPECT_TRUE(cache.list().at(0).kept);
}

TEST_F(registry_rules, keep_is_what_the_remaining_tickets_want) {
  auto keeper = request("a", {source(1)});
  keeper.keep = true;
  auto file = start(request("a", {source(1)}));
  cache.get(keeper);
  cache.give_up(keeper.ticket);
  bring_in(file, 10);
  EXPECT_FALSE(cache.list().at(0).kept);
}

TEST_F(registry_rules, list_says_what_is_there) {
  auto answer = load("b", 1, 30, true);
  load_idle("a", 2, 20);
  auto all = cache.list();
  ASSERT_THAT(keys(), ElementsAre("a", "b"));
  EXPECT_EQ(all.at(1).size_bytes, 10u);
  EXPECT_EQ(all.at(1).reserved_bytes, 30u);
  EXPECT_EQ(all.at(1).leases, 1u);
  EXPECT_TRUE(all.at(1).kept);
  EXPECT_EQ(all.at(1).generation, cache.generation("b"));
  EXPECT_EQ(all.at(1).files, answer.files);
  EXPECT_GT(all.at(0).last_use, all.at(1).last_use);
}

}  // namespace
