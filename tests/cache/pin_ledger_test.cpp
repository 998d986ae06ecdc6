// The line of claims, refusals and their words, and owners that misbehave: one test a rule.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pin_ledger_fixture.hpp"

using namespace longshore;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

namespace {

constexpr auto unpin = relief_kind::unpin;
constexpr auto free_all = relief_kind::free;

TEST_F(pin_rules, a_limit_can_be_used_to_the_last_byte_and_not_beyond) {
  auto stream = open("stream", pin_class::stream_staging);
  EXPECT_THAT(granted(want(stream, {100, 50})), SizeIs(1));
  EXPECT_EQ(refusal(want(stream, {1, 0})).code, errc::out_of_budget);
  EXPECT_EQ(refusal(want(stream, {0, 1})).code, errc::out_of_budget);
  EXPECT_EQ(ledger.used(), ledger.limit());
}

TEST_F(pin_rules, a_claim_for_nothing_is_granted_whoever_waits) {
  auto scrap = open("scrap", pin_class::inactive_intermediate, {100, 0});
  auto stream = open("stream", pin_class::stream_staging);
  want(stream, {10, 10});
  EXPECT_THAT(granted(want(scrap, {})), SizeIs(1));
}

TEST_F(pin_rules, claims_of_one_class_are_served_in_order_of_arrival) {
  auto scrap = open("scrap", pin_class::inactive_intermediate, {90, 0});
  auto a = open("a", pin_class::active_model), b = open("b", pin_class::active_model);
  EXPECT_THAT(asked(want(a, {50, 0})), ElementsAre(ask_back{scrap, free_all, 90}));
  const auto large = last;
  EXPECT_THAT(want(b, {1, 0}), IsEmpty()) << "10 are free, and the small one waits all the same";
  EXPECT_THAT(ledger.relieved(scrap, {30, 0}), IsEmpty());
  EXPECT_EQ(granted(ledger.relieved(scrap, {10, 0})), (std::vector{large})) << "50 were free";
  EXPECT_EQ(granted(ledger.relieved(scrap, {50, 0})), (std::vector{large + 1}));
}

TEST_F(pin_rules, a_higher_class_is_served_first) {
  auto scrap = open("scrap", pin_class::inactive_intermediate, {100, 0});
  auto model = open("model", pin_class::inactive_model), stream = open("stream", pin_class::stream_staging);
  want(model, {20, 0});
  want(stream, {20, 0});
  EXPECT_EQ(granted(ledger.relieved(scrap, {30, 0})), std::vector{last});
  EXPECT_EQ(granted(ledger.relieved(scrap, {10, 0})), std::vector{last - 1});
}

TEST_F(pin_rules, who_waits_for_pins_does_not_hold_up_host_memory) {
  auto old = open("old", pin_class::inactive_model, {50, 50});
  auto a = open("a", pin_class::active_model, {20, 0});
  EXPECT_THAT(asked(want(a, {0, 20})), ElementsAre(ask_back{old, unpin, 30}));
  EXPECT_THAT(granted(want(open("b", pin_class::active_model), {20, 0})), SizeIs(1));
  EXPECT_THAT(want(a, {5, 5}), IsEmpty()) << "stands in both lines, and is second in one";
  EXPECT_THAT(want(a, {5, 0}), IsEmpty());
}

TEST_F(pin_rules, a_claim_moves_in_the_line_with_its_account) {
  auto scrap = open("scrap", pin_class::inactive_intermediate, {100, 0});
  auto a = open("a", pin_class::inactive_model), b = open("b", pin_class::inactive_model);
  want(a, {20, 0});
  want(b, {20, 0});
  ledger.reclassify(b, pin_class::active_model);
  EXPECT_EQ(granted(ledger.relieved(scrap, {30, 0})), std::vector{last});
}

TEST_F(pin_rules, what_is_on_its_way_is_not_asked_for_again) {
  auto scrap = open("scrap", pin_class::inactive_intermediate, {100, 0});
  auto a = open("a", pin_class::active_model);
  EXPECT_THAT(asked(want(a, {30, 0})), ElementsAre(ask_back{scrap, free_all, 100}));
  EXPECT_THAT(want(a, {30, 0}), IsEmpty());
  EXPECT_THAT(ledger.relieved(scrap, {10, 0}), IsEmpty()) << "part of it";
  EXPECT_EQ(ledger.asked_back(), (memory_bytes{90, 0}));
  EXPECT_EQ(granted(ledger.relieved(scrap, {50, 0})), (std::vector{last - 1, last}));
}

TEST_F(pin_rules, relief_may_be_more_than_was_asked_for) {
  auto old = open("old", pin_class::inactive_model, {100, 50});
  auto stream = open("stream", pin_class::stream_staging);
  ledger.pressure(5);
  EXPECT_EQ(ledger.asked_back(), (memory_bytes{0, 5}));
  ledger.relieved(old, {100, 50});
  EXPECT_EQ(ledger.asked_back(), memory_bytes{});
  EXPECT_THAT(granted(want(stream, {50, 50})), SizeIs(1));
}

TEST_F(pin_rules, what_can_never_fit_is_refused_at_once_with_the_numbers) {
  auto model = open("model", pin_class::active_model);
  EXPECT_EQ(refusal(want(model, {101, 0})).what,
            "'model' wants 101 host bytes under the host limit of 100 bytes, which is 1 byte too many");
  EXPECT_EQ(refusal(want(model, {51, 51}, true)).code, errc::out_of_budget) << "patience is no help";
  EXPECT_EQ(ledger.waiting(), 0u);
}

TEST_F(pin_rules, a_refusal_names_the_holders_that_it_may_not_take_from_the_largest_first) {
  open("small", pin_class::active_model, {10, 10});
  open("large", pin_class::stream_staging, {20, 20}, true);
  open("old", pin_class::inactive_model, {20, 20});
  auto model = open("model", pin_class::active_model, {40, 0});
  EXPECT_EQ(refusal(want(model, {0, 25})).what,
            "'model' wants 25 pinned bytes under the pin limit of 50 bytes, 5 bytes more than can be had beside "
            "'large' (stream staging, leased) with 20 bytes, 'small' (active model) with 10 bytes");
  EXPECT_THAT(asked(want(model, {0, 20})), Not(IsEmpty())) << "5 less can be had";
}

TEST_F(pin_rules, a_refusal_names_no_more_holders_than_its_limit) {
  for (int i = 0; i < 10; ++i)
    open("m" + std::to_string(i), pin_class::active_model, {10, 0});
  EXPECT_THAT(refusal(want(open("last", pin_class::active_model), {1, 0})).what,
              AllOf(HasSubstr("'m7' (active model) with 10 bytes and 2 more"), Not(HasSubstr("m8"))));
}

TEST_F(pin_rules, a_claim_that_became_hopeless_is_refused_then) {
  auto old = open("old", pin_class::inactive_model, {50, 50});
  auto model = open("model", pin_class::active_model, {20, 0});
  want(model, {0, 20});
  const auto all = ledger.reclassify(old, pin_class::active_model);
  EXPECT_EQ(only<let_off>(all).size(), 1u);
  EXPECT_THAT(refusal(all).what, HasSubstr("beside 'old' (active model) with 50 bytes"));
}

TEST_F(pin_rules, the_patient_wait_for_what_may_not_be_taken_until_their_deadline) {
  auto model = open("model", pin_class::active_model, {90, 0}, true);
  auto other = open("other", pin_class::active_model);
  EXPECT_THAT(want(other, {50, 0}, true), IsEmpty());
  EXPECT_THAT(ledger.reclassify(model, pin_class::inactive_model), IsEmpty()) << "still leased";
  EXPECT_THAT(asked(ledger.set_leased(model, false)), ElementsAre(ask_back{model, free_all, 90}));
  EXPECT_EQ(granted(ledger.relieved(model, {90, 0})), std::vector{last});
  EXPECT_THAT(want(other, {60, 0}, true), IsEmpty());
  const auto late = refusal(ledger.deadline(last));
  EXPECT_EQ(late.code, errc::timed_out);
  EXPECT_THAT(late.what, HasSubstr("in the way: 'other' (active model) with 50 bytes"));
}

TEST_F(pin_rules, a_patient_claim_asks_nobody_for_less_than_it_needs) {
  open("model", pin_class::active_model, {80, 0});
  open("old", pin_class::inactive_model, {20, 0});
  EXPECT_THAT(want(open("other", pin_class::active_model), {50, 0}, true), IsEmpty());
}

TEST_F(pin_rules, a_deadline_names_the_silent_and_nothing_is_expected_of_them) {
  auto mute = open("mute", pin_class::inactive_model, {50, 20});
  auto other = open("other", pin_class::inactive_model, {50, 20});
  auto model = open("model", pin_class::active_model);
  EXPECT_THAT(asked(want(model, {10, 0})), ElementsAre(ask_back{mute, free_all, 50}));
  const auto late = refusal(ledger.deadline(last));
  EXPECT_EQ(late.code, errc::timed_out);
  EXPECT_EQ(late.what,
            "waited too long: 'model' wants 10 host bytes under the host limit of 100 bytes; asked for memory and "
            "silent: 'mute' (inactive model) with 50 bytes");
  EXPECT_TRUE(info(mute).silent);
  EXPECT_THAT(asked(want(model, {10, 0})), ElementsAre(ask_back{other, free_all, 50})) << "its bytes no longer count";
  EXPECT_EQ(granted(ledger.relieved(mute, {10, 0})), std::vector{last}) << "late is better than never";
  EXPECT_FALSE(info(mute).silent);
  EXPECT_EQ(ledger.deadline(last).size(), 0u) << "it has its answer";
}

TEST_F(pin_rules, who_waits_only_for_the_silent_waits_until_its_own_deadline) {
  auto mute = open("mute", pin_class::inactive_model, {100, 0});
  auto model = open("model", pin_class::active_model);
  want(model, {10, 0});
  want(model, {20, 0});
  EXPECT_EQ(only<pin_refusal>(ledger.deadline(last - 1)).size(), 1u);
  EXPECT_EQ(ledger.waiting(), 1u);
  EXPECT_THAT(refusal(ledger.deadline(last)).what, HasSubstr("silent: 'mute'"));
  EXPECT_EQ(ledger.used(), (memory_bytes{100, 0}));
  ledger.relieved(mute, {100, 0});
  EXPECT_EQ(ledger.used(), memory_bytes{});
}

TEST_F(pin_rules, who_declines_is_passed_over_by_those_who_wait_and_asked_again_by_those_who_come) {
  auto firm = open("firm", pin_class::inactive_intermediate, {50, 0});
  auto old = open("old", pin_class::inactive_model, {50, 0});
  auto model = open("model", pin_class::active_model);
  EXPECT_THAT(asked(want(model, {10, 0})), ElementsAre(ask_back{firm, free_all, 50}));
  EXPECT_THAT(asked(ledger.declined(firm)), ElementsAre(ask_back{old, free_all, 50}));
  const auto none_left = refusal(ledger.declined(old));
  EXPECT_THAT(none_left.what, AllOf(HasSubstr("'firm' (inactive intermediate, declined) with 50 bytes"),
                                    HasSubstr("'old' (inactive model, declined) with 50 bytes")));
  EXPECT_THAT(asked(want(model, {10, 0})), ElementsAre(ask_back{firm, free_all, 50}));
}

TEST_F(pin_rules, what_goes_for_a_later_claim_can_complete_what_an_earlier_one_waits_for) {
  auto firm = open("firm", pin_class::inactive_model, {20, 20}), old = open("old", pin_class::inactive_model, {20, 20});
  auto active = open("active", pin_class::active_model, {10, 10}),
       model = open("model", pin_class::active_model, {50, 0});
  EXPECT_THAT(want(model, {0, 45}, true), IsEmpty()) << "40 are too few to begin with";
  ledger.declined(firm);
  EXPECT_THAT(ledger.relieved(active, {0, 10}), IsEmpty()) << "30, now that one has declined";
  EXPECT_THAT(asked(want(active, {5, 0})), ElementsAre(ask_back{firm, free_all, 20}, ask_back{old, unpin, 20}));
}

TEST_F(pin_rules, what_goes_for_pressure_can_complete_it_too) {
  auto firm = open("firm", pin_class::inactive_model, {20, 20});
  auto scrap = open("scrap", pin_class::inactive_intermediate, {20, 20}, true);
  auto active = open("active", pin_class::active_model, {10, 10}),
       model = open("model", pin_class::active_model, {50, 0});
  want(model, {0, 45}, true);
  ledger.declined(firm);
  ledger.relieved(active, {0, 10});
  EXPECT_THAT(asked(ledger.pressure(20)), ElementsAre(ask_back{firm, unpin, 20}, ask_back{scrap, unpin, 20}));
}

TEST_F(pin_rules, a_model_leased_while_it_was_asked_is_let_off_and_another_is_asked) {
  auto a = open("a", pin_class::inactive_model, {50, 20});
  auto b = open("b", pin_class::inactive_model, {50, 20});
  auto model = open("model", pin_class::active_model);
  EXPECT_THAT(asked(want(model, {10, 0})), ElementsAre(ask_back{a, free_all, 50}));
  const auto all = ledger.set_leased(a, true);
  EXPECT_EQ(only<let_off>(all).at(0).account, a);
  EXPECT_THAT(asked(all), ElementsAre(ask_back{b, free_all, 50}));
  EXPECT_EQ(granted(ledger.relieved(a, {50, 20})), std::vector{last}) << "it had begun already";
}

TEST_F(pin_rules, the_memory_of_a_dead_owner_counts_until_it_is_free) {
  auto dead = open("dead", pin_class::stream_staging, {100, 50});
  auto model = open("model", pin_class::active_model);
  EXPECT_THAT(ledger.close_account(dead), IsEmpty());
  EXPECT_EQ(ledger.used(), (memory_bytes{100, 50}));
  EXPECT_TRUE(info(dead).closed);
  EXPECT_THAT(want(model, {10, 0}), IsEmpty()) << "it waits, and asks nobody";
  EXPECT_EQ(granted(ledger.relieved(dead, {60, 50})), std::vector{last});
  EXPECT_THAT(ledger.accounts(), SizeIs(2));
  ledger.relieved(dead, {40, 0});
  EXPECT_THAT(ledger.accounts(), SizeIs(1));
  EXPECT_THAT(ledger.relieved(dead, {1, 0}), IsEmpty()) << "word from who is gone";
}

TEST_F(pin_rules, an_owner_that_dies_takes_its_claims_along) {
  auto old = open("old", pin_class::inactive_model, {100, 0});
  auto a = open("a", pin_class::active_model), b = open("b", pin_class::active_model);
  want(a, {60, 0});
  want(b, {10, 0});
  EXPECT_THAT(ledger.relieved(old, {50, 0}), IsEmpty());
  const auto all = ledger.close_account(a);
  EXPECT_EQ(refusal(all).code, errc::cancelled);
  EXPECT_EQ(granted(all), std::vector{last}) << "the next in the line";
  EXPECT_EQ(refusal(want(a, {1, 0})).code, errc::not_found);
}

TEST_F(pin_rules, a_cancelled_claim_makes_way_for_the_next) {
  auto old = open("old", pin_class::inactive_model, {60, 0});
  auto model = open("model", pin_class::active_model);
  want(model, {80, 0});
  want(model, {10, 0});
  const auto all = ledger.cancel(last - 1);
  EXPECT_EQ(refusal(all).code, errc::cancelled);
  EXPECT_EQ(granted(all), std::vector{last});
  EXPECT_THAT(ledger.cancel(last), IsEmpty()) << "it has its answer, and the memory is its own to give back";
  EXPECT_THAT(ledger.relieved(old, {60, 0}), IsEmpty());
  EXPECT_EQ(ledger.used(), (memory_bytes{10, 0}));
}

TEST_F(pin_rules, only_host_memory_that_is_there_can_be_pinned) {
  auto model = open("model", pin_class::active_model, {20, 10});
  EXPECT_THAT(granted(want(model, {5, 15})), SizeIs(1)) << "5 new ones and 10 that were there";
  EXPECT_EQ(refusal(want(model, {0, 1})).code, errc::bad_argument);
}

TEST_F(pin_rules, a_pin_limit_of_0_does_without_pinning) {
  pin_ledger pageable{{.host_limit_bytes = 100, .pin_limit_bytes = 0}};
  const auto stream = pageable.open_account({"stream", pin_class::stream_staging}).value();
  const auto all = pageable.request({.ticket = 1, .account = stream, .wanted = {40, 40}});
  EXPECT_EQ(only<pin_grant>(all).at(0).granted, (memory_bytes{40, 0}));
  EXPECT_EQ(refusal(pageable.request({.ticket = 2, .account = stream, .wanted = {0, 1}})).code, errc::out_of_budget);
}

TEST_F(pin_rules, accounts_and_the_line_are_bounded) {
  pin_ledger small{{.host_limit_bytes = 100, .pin_limit_bytes = 0, .max_accounts = 2, .max_waiting = 1}};
  const auto a = small.open_account({"a", pin_class::inactive_intermediate}).value();
  const auto b = small.open_account({"b", pin_class::active_model}).value();
  EXPECT_EQ(small.open_account({"c", pin_class::active_model}).error().code, errc::overloaded);
  small.request({.ticket = 1, .account = a, .wanted = {100, 0}});
  small.request({.ticket = 2, .account = b, .wanted = {10, 0}});
  EXPECT_EQ(refusal(small.request({.ticket = 3, .account = b, .wanted = {10, 0}})).code, errc::overloaded);
  EXPECT_EQ(small.waiting(), 1u);
}

TEST_F(pin_rules, what_makes_no_sense_asserts) {
  auto model = open("model", pin_class::active_model, {10, 5});
  open("rest", pin_class::inactive_intermediate, {90, 0});
  want(model, {5, 0});
  EXPECT_DEATH(ledger.relieved(model, {11, 0}), "held");
  EXPECT_DEATH(ledger.relieved(model, {10, 0}), "pinned_bytes <= ") << "pins without memory under them";
  EXPECT_DEATH(ledger.request({.ticket = last, .account = model, .wanted = {1, 0}}), "ticket");
}

}  // namespace
