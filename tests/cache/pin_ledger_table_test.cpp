// Who may take what from whom, and in which order they are asked.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pin_ledger_fixture.hpp"
#include "pin_ledger_world.hpp"

using namespace longshore;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace {

constexpr auto unpin = relief_kind::unpin;
constexpr auto free_all = relief_kind::free;

/// A full ledger with one holder, and one who wants a part of that.
pin_actions claim_against(pin_class taker, pin_class holder, bool leased, budget which) {
  pin_ledger ledger{{.host_limit_bytes = 100, .pin_limit_bytes = 50, .hysteresis_bytes = 0}};
  const auto held = which == budget::host ? memory_bytes{100, 0} : memory_bytes{50, 50};
  const auto wanted = which == budget::host ? memory_bytes{10, 0} : memory_bytes{10, 10};
  const auto owner = ledger.open_account({"holder", holder, leased}).value();
  ledger.request({.ticket = 1, .account = owner, .wanted = held});
  const auto claimant = ledger.open_account({"taker", taker}).value();
  return ledger.request({.ticket = 2, .account = claimant, .wanted = wanted});
}

class who_takes_what : public testing::TestWithParam<std::tuple<int, int, bool, budget>> {};

TEST_P(who_takes_what, follows_the_table) {
  const auto [taker, holder, leased, which] = GetParam();
  const bool by_table =
      which == budget::host ? !leased && may_take_host[taker][holder] == 'x' : may_take_pins[taker][holder] == 'x';
  const auto all = claim_against(all_classes[taker], all_classes[holder], leased, which);
  if (by_table) {
    const auto expected = which == budget::host ? ask_back{1, free_all, 100} : ask_back{1, unpin, 10};
    EXPECT_THAT(asked(all), ElementsAre(expected));
    EXPECT_EQ(all.size(), 1u);
  } else {
    EXPECT_EQ(refusal(all).code, errc::out_of_budget);
    EXPECT_THAT(refusal(all).what, HasSubstr("beside 'holder'"));
    EXPECT_EQ(all.size(), 1u);
  }
}

INSTANTIATE_TEST_SUITE_P(all, who_takes_what,
                         testing::Combine(testing::Range(0, 5), testing::Range(0, 5), testing::Bool(),
                                          testing::Values(budget::host, budget::pinned)));

TEST_F(pin_rules, the_lowest_class_gives_first_and_in_it_the_least_recently_used) {
  auto active = open("active", pin_class::active_model, {10, 10});
  auto first = open("first", pin_class::inactive_model, {10, 10});
  auto second = open("second", pin_class::inactive_model, {10, 10});
  auto third = open("third", pin_class::inactive_model, {10, 10});
  auto scrap = open("scrap", pin_class::inactive_intermediate, {10, 10});
  ledger.touch(first);
  auto stream = open("stream", pin_class::stream_staging);
  EXPECT_THAT(asked(want(stream, {35, 35})),
              ElementsAre(ask_back{scrap, unpin, 10}, ask_back{second, unpin, 10}, ask_back{third, unpin, 10},
                          ask_back{first, unpin, 10}, ask_back{active, unpin, 5}));
}

TEST_F(pin_rules, host_copies_go_whole_and_only_as_many_as_needed) {
  open("old", pin_class::inactive_model, {40, 0});
  open("new", pin_class::inactive_model, {40, 0});
  auto scrap = open("scrap", pin_class::inactive_intermediate, {20, 0});
  auto model = open("model", pin_class::active_model);
  EXPECT_THAT(asked(want(model, {5, 0})), ElementsAre(ask_back{scrap, free_all, 20})) << "5 lack, and 10 on top";
}

TEST_F(pin_rules, a_use_is_an_opening_a_grant_a_change_of_class_or_a_touch) {
  auto a = open("a", pin_class::inactive_model);
  auto b = open("b", pin_class::inactive_model);
  EXPECT_LT(info(a).last_use, info(b).last_use);
  want(a, {1, 0});
  EXPECT_GT(info(a).last_use, info(b).last_use);
  ledger.reclassify(b, pin_class::inactive_model);
  EXPECT_LT(info(a).last_use, info(b).last_use);
  ledger.touch(a);
  EXPECT_GT(info(a).last_use, info(b).last_use);
}

TEST_F(pin_rules, host_copies_that_go_take_their_pins_along) {
  auto old = open("old", pin_class::inactive_model, {60, 20});
  auto active = open("active", pin_class::active_model, {40, 30});
  auto stream = open("stream", pin_class::stream_staging);
  EXPECT_THAT(asked(want(stream, {15, 10})), ElementsAre(ask_back{old, free_all, 60}));
  EXPECT_EQ(ledger.asked_back(), (memory_bytes{60, 20})) << "20 pins are more than 10 and the hysteresis";
  EXPECT_EQ(granted(ledger.relieved(old, {60, 20})), std::vector{last});
  EXPECT_THAT(asked(want(stream, {30, 30})), ElementsAre(ask_back{active, unpin, 30}));
}

TEST_F(pin_rules, unpinning_keeps_the_host_copy) {
  auto old = open("old", pin_class::inactive_model, {50, 50});
  auto model = open("model", pin_class::active_model, {20, 0});
  EXPECT_THAT(asked(want(model, {0, 20})), ElementsAre(ask_back{old, unpin, 30}));
  EXPECT_EQ(granted(ledger.relieved(old, {0, 30})), std::vector{last});
  EXPECT_EQ(info(old).held, (memory_bytes{50, 20}));
  EXPECT_EQ(ledger.used(), (memory_bytes{70, 40}));
}

TEST_F(pin_rules, pins_are_asked_for_in_whole_segments) {
  auto old = open("old", pin_class::inactive_model, {30, 30}, false, 16);
  auto other = open("other", pin_class::inactive_model, {20, 20}, false, 16);
  auto model = open("model", pin_class::active_model, {20, 0});
  EXPECT_THAT(asked(want(model, {0, 4})), ElementsAre(ask_back{old, unpin, 16})) << "14 make one segment";
  EXPECT_THAT(asked(want(model, {0, 16})), IsEmpty()) << "the first claim of the class comes first";
  EXPECT_THAT(asked(ledger.relieved(old, {0, 16})), ElementsAre(ask_back{old, unpin, 14})) << "the rest is no segment";
  EXPECT_EQ(info(other).asked_back, memory_bytes{});
}

TEST_F(pin_rules, hysteresis_is_asked_for_only_when_something_lacks) {
  auto old = open("old", pin_class::inactive_model, {45, 45});
  auto model = open("model", pin_class::active_model, {20, 0});
  EXPECT_THAT(want(model, {0, 5}), testing::SizeIs(1)) << "granted, and nobody is asked";
  EXPECT_THAT(asked(want(model, {0, 1})), ElementsAre(ask_back{old, unpin, 11}));
}

TEST_F(pin_rules, hysteresis_never_refuses_what_fits_without_it) {
  auto old = open("old", pin_class::inactive_model, {50, 50});
  auto stream = open("stream", pin_class::stream_staging);
  EXPECT_THAT(asked(want(stream, {50, 50})), ElementsAre(ask_back{old, unpin, 50}));
}

TEST_F(pin_rules, the_surplus_of_one_eviction_serves_the_next_claim) {
  auto old = open("old", pin_class::inactive_model, {50, 50});
  auto model = open("model", pin_class::active_model, {20, 0});
  auto stream = open("stream", pin_class::stream_staging);
  EXPECT_THAT(asked(want(model, {0, 5})), ElementsAre(ask_back{old, unpin, 15}));
  EXPECT_THAT(want(stream, {10, 10}), IsEmpty()) << "15 are on their way";
  const auto stream_claim = last;
  EXPECT_EQ(granted(ledger.relieved(old, {0, 15})), (std::vector{stream_claim, last - 1}));
}

TEST_F(pin_rules, pressure_takes_scraps_then_pins_then_host_copies_of_the_inactive) {
  open("active", pin_class::active_model, {20, 20});
  open("work", pin_class::active_intermediate, {10, 0});
  auto old = open("old", pin_class::inactive_model, {20, 10});
  auto leased = open("leased", pin_class::inactive_model, {20, 5}, true);
  auto scrap = open("scrap", pin_class::inactive_intermediate, {10, 0});
  EXPECT_THAT(asked(ledger.pressure(5)), ElementsAre(ask_back{scrap, free_all, 10}));
  EXPECT_THAT(asked(ledger.pressure(10)), IsEmpty()) << "10 are to come anyway";
  EXPECT_THAT(asked(ledger.pressure(25)), ElementsAre(ask_back{old, unpin, 10}, ask_back{leased, unpin, 5}));
  EXPECT_THAT(asked(ledger.pressure(35)), ElementsAre(ask_back{old, free_all, 20})) << "10 of it unpinned already";
  EXPECT_THAT(asked(ledger.pressure(100)), IsEmpty()) << "there is nothing more to take";
}

TEST_F(pin_rules, pressure_asks_last_who_declined_and_was_not_used_since) {
  auto scrap = open("scrap", pin_class::inactive_intermediate, {10, 0});
  auto old = open("old", pin_class::inactive_model, {20, 10});
  EXPECT_THAT(asked(ledger.pressure(5)), ElementsAre(ask_back{scrap, free_all, 10}));
  ledger.declined(scrap);
  EXPECT_THAT(asked(ledger.pressure(5)), ElementsAre(ask_back{old, unpin, 5}));
  EXPECT_THAT(asked(ledger.pressure(30)),
              ElementsAre(ask_back{old, unpin, 5}, ask_back{old, free_all, 20}, ask_back{scrap, free_all, 10}));
  ledger.relieved(old, {20, 10});
  ledger.reclassify(scrap, pin_class::active_intermediate);
  ledger.reclassify(scrap, pin_class::inactive_intermediate);
  open("new", pin_class::inactive_model, {20, 10});
  EXPECT_THAT(asked(ledger.pressure(5)), ElementsAre(ask_back{scrap, free_all, 10}));
}

TEST_F(pin_rules, pressure_does_not_count_on_what_waiting_claims_will_take) {
  auto scrap = open("scrap", pin_class::inactive_intermediate, {50, 0});
  auto old = open("old", pin_class::inactive_model, {50, 0});
  auto model = open("model", pin_class::active_model);
  EXPECT_THAT(asked(want(model, {40, 0})), ElementsAre(ask_back{scrap, free_all, 50}));
  EXPECT_THAT(asked(ledger.pressure(10)), IsEmpty());
  EXPECT_THAT(asked(ledger.pressure(11)), ElementsAre(ask_back{old, free_all, 50}));
}

}  // namespace
