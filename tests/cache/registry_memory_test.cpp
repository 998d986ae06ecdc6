// One test a rule of memory and of generations: who is granted, who leaves for it, who waits, who is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cache/byte_ledger.hpp"
#include "cache/generations.hpp"
#include "registry_fixture.hpp"

using namespace longshore;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

namespace {

TEST_F(registry_rules, a_mapped_file_is_granted_at_once_whoever_waits) {
  load("a", 1, 100);
  auto waiting = start(request("b", {source(2)}));
  EXPECT_THAT(cache.file_opened(waiting, 1), IsEmpty());
  auto mapped = start(request("c", {source(3, hold_mode::mapped)}));
  EXPECT_EQ(files_of<grant_bytes>(cache.file_opened(mapped, 0)), std::vector{mapped});
}

TEST_F(registry_rules, eviction_takes_the_least_recently_used_and_only_as_many_as_needed) {
  auto a = load_idle("a", 1, 30);
  auto b = load_idle("b", 2, 30);
  load_idle("c", 3, 30);
  cache.lease_returned(pick<complete>(cache.get(look_up("a"))).at(0).lease);
  auto before = cache.generation("b");
  auto file = start(request("d", {source(4)}));
  auto answers = cache.file_opened(file, 20);
  EXPECT_EQ(files_of<drop_file>(answers), std::vector{b});
  EXPECT_THAT(pick<grant_bytes>(answers), IsEmpty()) << "the memory is not free yet";
  EXPECT_THAT(keys(), ElementsAre("a", "c"));
  EXPECT_GT(cache.generation("b"), before);
  EXPECT_EQ(files_of<grant_bytes>(cache.file_dropped(b)), std::vector{file});
  EXPECT_EQ(cache.used_bytes(), 80u);
  EXPECT_THAT(cache.list().at(0).files, ElementsAre(a));
}

TEST_F(registry_rules, what_is_on_its_way_out_is_counted_before_anything_is_evicted) {
  auto a = load_idle("a", 1, 50);
  load_idle("b", 2, 50);
  cache.remove("a");
  auto file = start(request("c", {source(3)}));
  EXPECT_THAT(cache.file_opened(file, 50), IsEmpty());
  EXPECT_THAT(keys(), ElementsAre("b"));
  EXPECT_EQ(files_of<grant_bytes>(cache.file_dropped(a)), std::vector{file});
}

TEST_F(registry_rules, evicting_a_shared_file_removes_every_entry_that_uses_it) {
  auto shared = load_idle("a", 1, 40);
  auto pair = request("b", {source(1), source(2)});
  auto other = start(pair);
  cache.lease_returned(pick<complete>(bring_in(other, 40)).at(0).lease);
  cache.lease_returned(pick<complete>(cache.get(look_up("a"))).at(0).lease);
  auto answers = cache.file_opened(start(request("c", {source(3)})), 60);
  EXPECT_THAT(files_of<drop_file>(answers), ElementsAre(other));
  EXPECT_THAT(keys(), ElementsAre("a")) << "of the shared file, a was used last";
  answers = cache.file_opened(start(request("d", {source(4)})), 1);
  EXPECT_THAT(answers, IsEmpty()) << "the queue is served in order";
  EXPECT_THAT(cache.list().at(0).files, ElementsAre(shared));
}

TEST_F(registry_rules, leased_and_needed_files_are_waited_for_and_nothing_is_evicted_in_vain) {
  auto leased = load("leased", 1, 60);
  auto idle = load_idle("idle", 2, 30);
  auto file = start(request("big", {source(3)}));
  EXPECT_THAT(cache.file_opened(file, 80), IsEmpty());
  EXPECT_THAT(keys(), ElementsAre("idle", "leased"));
  auto answers = cache.lease_returned(leased.lease);
  EXPECT_THAT(files_of<drop_file>(answers), ElementsAre(idle, leased.files.at(0)));
  cache.file_dropped(idle);
  EXPECT_EQ(files_of<grant_bytes>(cache.file_dropped(leased.files.at(0))), std::vector{file});
}

TEST_F(registry_rules, a_small_reservation_does_not_overtake_a_large_one) {
  auto leased = load("leased", 1, 60);
  auto large = start(request("large", {source(2)}));
  auto small = start(request("small", {source(3)}));
  EXPECT_THAT(cache.file_opened(large, 50), IsEmpty());
  EXPECT_THAT(cache.file_opened(small, 10), IsEmpty());
  cache.lease_returned(leased.lease);
  EXPECT_THAT(files_of<grant_bytes>(cache.file_dropped(leased.files.at(0))), ElementsAre(large, small));
}

TEST_F(registry_rules, a_cancelled_reservation_lets_the_next_one_through) {
  load("leased", 1, 60);
  auto large = request("large", {source(2)});
  cache.file_opened(start(large), 50);
  auto small = start(request("small", {source(3)}));
  cache.file_opened(small, 10);
  EXPECT_EQ(files_of<grant_bytes>(cache.give_up(large.ticket)), std::vector{small});
}

TEST_F(registry_rules, a_file_above_the_limit_is_refused_at_once_saying_by_how_much) {
  load_idle("a", 1, 100);
  auto file = start(request("b", {source(2)}));
  auto answers = cache.file_opened(file, 107);
  EXPECT_EQ(files_of<refuse_bytes>(answers), std::vector{file});
  auto reason = pick<fail>(answers).at(0).reason;
  EXPECT_EQ(reason.code, errc::out_of_budget);
  EXPECT_EQ(reason.what, "needs 107 bytes of memory, 7 bytes more than the limit of 100 bytes");
  EXPECT_EQ(reason.path, "/models/2");
  EXPECT_THAT(keys(), ElementsAre("a"));
  EXPECT_EQ(cache.file_count(), 2u);
  cache.file_dropped(file);
  EXPECT_EQ(cache.file_count(), 1u);
}

TEST_F(registry_rules, files_that_exceed_the_limit_together_are_refused_as_soon_as_that_is_known) {
  auto wanted = request("a", {source(1), source(2), source(3)});
  auto files = files_of<start_load>(cache.get(wanted));
  cache.get(request("b", {source(2)}));
  cache.file_opened(files.at(0), 60);
  auto answers = cache.file_opened(files.at(1), 50);
  auto failed = pick<fail>(answers);
  ASSERT_THAT(failed, SizeIs(1));
  EXPECT_EQ(failed.at(0).ticket, wanted.ticket);
  EXPECT_EQ(failed.at(0).reason.code, errc::out_of_budget);
  EXPECT_THAT(failed.at(0).reason.what, HasSubstr("10 bytes or more above the limit of 100 bytes"));
  EXPECT_THAT(files_of<cancel_load>(answers), ElementsAre(files.at(0), files.at(2)));
  EXPECT_EQ(files_of<grant_bytes>(cache.file_dropped(files.at(0))), std::vector{files.at(1)}) << "b goes on";
}

TEST_F(registry_rules, files_known_to_be_too_large_together_are_refused_in_the_request) {
  auto one = start(request("a", {source(1)})), two = start(request("b", {source(2)}));
  cache.file_opened(one, 60);
  cache.file_opened(two, 60);
  auto failed = pick<fail>(cache.get(request("c", {source(1), source(2)})));
  ASSERT_THAT(failed, SizeIs(1));
  EXPECT_EQ(failed.at(0).reason.code, errc::out_of_budget);
}

TEST_F(registry_rules, kept_models_in_the_way_refuse_at_once_and_are_named) {
  load_idle("kept-one", 1, 60, true);
  load("leased", 2, 20);
  auto file = start(request("b", {source(3)}));
  auto answers = cache.file_opened(file, 50);
  EXPECT_EQ(files_of<refuse_bytes>(answers), std::vector{file});
  auto reason = pick<fail>(answers).at(0).reason;
  EXPECT_EQ(reason.code, errc::out_of_budget);
  EXPECT_THAT(reason.what, HasSubstr("10 bytes more than"));
  EXPECT_THAT(reason.what, HasSubstr("'kept-one' (kept) with 60 bytes"));
  EXPECT_THAT(reason.what, Not(HasSubstr("leased")));
}

TEST_F(registry_rules, taking_the_keep_mark_away_makes_room) {
  auto kept = load_idle("a", 1, 60, true);
  load("leased", 2, 40);
  auto file = start(request("b", {source(3)}));
  cache.file_opened(file, 40);
  auto answers = *cache.keep("a", false);
  EXPECT_EQ(files_of<drop_file>(answers), std::vector{kept});
}

TEST_F(registry_rules, a_deadline_refuses_naming_those_in_the_way) {
  load("leased", 1, 60);
  auto reading = start(request("reading", {source(2)}));
  cache.file_opened(reading, 30);
  auto file = start(request("b", {source(3)}));
  cache.file_opened(file, 50);
  auto answers = cache.reservation_deadline(file);
  EXPECT_EQ(files_of<refuse_bytes>(answers), std::vector{file});
  auto reason = pick<fail>(answers).at(0).reason;
  EXPECT_EQ(reason.code, errc::timed_out);
  EXPECT_THAT(reason.what, HasSubstr("'leased' (in use) with 60 bytes, 'reading' (loading) with 30 bytes"));
  EXPECT_THAT(cache.reservation_deadline(reading), IsEmpty()) << "does not wait";
}

TEST_F(registry_rules, two_loads_that_wait_for_each_others_half_end_by_the_deadline) {
  auto a = files_of<start_load>(cache.get(request("a", {source(1), source(2)})));
  auto b = files_of<start_load>(cache.get(request("b", {source(3), source(4)})));
  bring_in(a.at(0), 50);
  bring_in(b.at(0), 50);
  EXPECT_THAT(cache.file_opened(a.at(1), 50), IsEmpty());
  EXPECT_THAT(cache.file_opened(b.at(1), 50), IsEmpty());
  auto answers = cache.reservation_deadline(a.at(1));
  EXPECT_THAT(files_of<drop_file>(answers), ElementsAre(a.at(0)));
  EXPECT_EQ(files_of<grant_bytes>(cache.file_dropped(a.at(0))), std::vector{b.at(1)});
  EXPECT_THAT(pick<complete>(cache.file_ready(b.at(1))), SizeIs(1));
}

TEST_F(registry_rules, a_refusal_names_only_so_many_holders) {
  for (uint64_t i = 0; i < 10; ++i)
    load("k" + std::to_string(i), 10 + i, 10, true);
  auto reason = pick<fail>(cache.file_opened(start(request("b", {source(1)})), 1)).at(0).reason;
  EXPECT_THAT(reason.what, HasSubstr("'k7' (kept) with 10 bytes and 2 more"));
}

TEST(registry_limits, full_queues_answer_overloaded) {
  const auto ask = [](registry& cache, ticket_id ticket, const std::string& key, uint64_t inode) {
    auto answers = cache.get({.ticket = ticket, .key = key, .files = {source(inode)}});
    auto failed = pick<fail>(answers);
    return !failed.empty() && failed.at(0).reason.code == errc::overloaded;
  };
  registry few_tickets{{.host_limit_bytes = 1, .max_waiting_tickets = 2}};
  EXPECT_FALSE(ask(few_tickets, 1, "a", 1));
  EXPECT_FALSE(ask(few_tickets, 2, "a", 1));
  EXPECT_TRUE(ask(few_tickets, 3, "a", 1));
  EXPECT_TRUE(ask(few_tickets, 4, "b", 2));
  registry few_loads{{.host_limit_bytes = 1, .max_pending_loads = 1}};
  EXPECT_FALSE(ask(few_loads, 1, "a", 1));
  EXPECT_TRUE(ask(few_loads, 2, "b", 2));
  EXPECT_EQ(few_loads.file_count(), 1u) << "a request that is turned away starts nothing";
  registry few_entries{{.host_limit_bytes = 1, .max_entries = 1}};
  EXPECT_FALSE(ask(few_entries, 1, "a", 1));
  EXPECT_TRUE(ask(few_entries, 2, "b", 2));
}

TEST(generations, a_key_never_sees_a_number_twice_even_when_its_going_is_forgotten) {
  generations numbers{2};
  EXPECT_EQ(numbers.of_absent("a"), 0u);
  auto live = numbers.put("a");
  numbers.gone("a");
  auto gone = numbers.of_absent("a");
  EXPECT_GT(gone, live);
  numbers.gone("b");
  EXPECT_EQ(numbers.of_absent("a"), gone);
  EXPECT_EQ(numbers.of_absent("never seen"), 0u);
  numbers.gone("c");
  numbers.gone("d");
  EXPECT_GE(numbers.of_absent("a"), gone);
  EXPECT_EQ(numbers.of_absent("a"), numbers.of_absent("never seen")) << "both under the floor";
  EXPECT_GT(numbers.put("a"), numbers.of_absent("d"));
}

TEST(byte_ledger, works_up_to_the_largest_limit) {
  byte_ledger ledger{UINT64_MAX};
  ledger.enqueue(1, UINT64_MAX);
  ledger.grant_next();
  ledger.enqueue(2, 5);
  EXPECT_FALSE(ledger.next_fits());
  EXPECT_EQ(ledger.shortfall_bytes(), 5u);
  ledger.start_leaving(1);
  ledger.start_leaving(1);
  EXPECT_EQ(ledger.shortfall_bytes(), 0u);
  EXPECT_FALSE(ledger.next_fits());
  ledger.release(1);
  EXPECT_TRUE(ledger.next_fits());
}

TEST(cache_mode, names_go_both_ways) {
  for (auto mode : {cache_mode::automatic, cache_mode::override_cache, cache_mode::read_only})
    EXPECT_EQ(cache_mode_from_name(name(mode)), mode);
  EXPECT_EQ(name(cache_mode::automatic), "auto");
  EXPECT_FALSE(cache_mode_from_name("automatic"));
}

}  // namespace
