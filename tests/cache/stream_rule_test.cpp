// Streaming, one feature at a time: what is fetched, what leaves, and when. An action reads +unit (fetched) or -unit
// (evicted). Random histories stand in stream_property_test.cpp, the bytes moved in stream_optimum_test.cpp.
#include "cache/stream_rule.hpp"

#include <gtest/gtest.h>
#include <numeric>

#include "stream_fixture.hpp"

using namespace longshore;

namespace {

using ids = std::vector<layer_id>;

/// Layers of one unit each.
stream_shape row(const std::vector<uint64_t>& bytes) {
  stream_shape shape{bytes, {}};
  for (unit_id u = 0; u < bytes.size(); ++u)
    shape.layers.push_back({u});
  return shape;
}

stream_limits with_ahead(uint64_t bytes) {
  stream_limits limits;
  limits.ahead_bytes = bytes;
  return limits;
}

void finish_copies(streamed_model& m) {
  while (!m.coming().empty())
    m.finish_copy();
}

TEST(stream_rule, a_model_that_fits_moves_once_and_keeps_no_room_ahead) {
  streamed_model m{row({10, 20, 30}), 60};
  m.begin_pass();
  EXPECT_EQ(m.last_actions, "+0 +1 +2 ");
  for (int i = 0; i < 5; ++i)
    m.pass({0, 1, 2});
  EXPECT_EQ(m.fetched_bytes(), 60u);
  EXPECT_EQ(m.rule.counts().moved_bytes, 60u);
  EXPECT_EQ(m.rule.counts().bytes_of_last_pass, 0u);
  EXPECT_EQ(m.rule.counts().ahead_bytes, 0u);
  EXPECT_EQ(m.rule.counts().uses, 15u);
  EXPECT_EQ(m.rule.counts().hits, 12u) << "but for the first pass";
  EXPECT_EQ(m.fault, "");
}

TEST(stream_rule, with_room_ahead_the_next_layer_comes_while_this_one_is_used) {
  streamed_model m{row({10, 10, 10, 10, 10, 10}), 30, with_ahead(10)};
  for (int i = 0; i < 3; ++i)
    m.pass({0, 1, 2, 3, 4, 5});
  m.begin_pass();
  finish_copies(m);
  const auto before = m.rule.counts();
  for (layer_id l = 0; l < 6; ++l) {
    m.acquire(l);
    EXPECT_TRUE(m.rule.is_ready(l)) << "layer " << l;
    finish_copies(m);
    m.release(l);
    finish_copies(m);
  }
  EXPECT_EQ(m.rule.counts().hits - before.hits, 6u);
  EXPECT_GT(m.rule.counts().moved_bytes, before.moved_bytes) << "it streams";
  EXPECT_EQ(m.fault, "");
}

TEST(stream_rule, without_room_ahead_the_last_layer_must_leave_first) {
  streamed_model m{row({10, 10, 10}), 20, with_ahead(0)};
  m.begin_pass();
  EXPECT_EQ(m.last_actions, "+0 +1 ");
  finish_copies(m);
  m.acquire(0);
  EXPECT_EQ(m.last_actions, "");
  m.release(0);
  EXPECT_EQ(m.last_actions, "") << "0 is needed after 2, and 1 after that: 1 goes for 2";
  m.acquire(1);
  EXPECT_EQ(m.last_actions, "");
  m.release(1);
  EXPECT_EQ(m.last_actions, "-1 +2 ");
}

TEST(stream_rule, the_order_of_a_pass_is_expected_of_the_next) {
  streamed_model m{row({10, 10, 10, 10}), 30};
  const ids order{3, 1, 3, 0, 2, 1};
  m.pass(order);
  EXPECT_GT(m.rule.counts().departures, 0u);
  m.pass(order);
  const auto learned = m.rule.counts().departures;
  for (int i = 0; i < 5; ++i)
    m.pass(order);
  EXPECT_EQ(m.rule.counts().passes, 7u);
  m.pass({2, 1, 0, 3});
  m.begin_pass();
  EXPECT_GT(m.rule.counts().departures, learned);
  const auto relearned = m.rule.counts().departures;
  for (layer_id l : {2, 1, 0, 3})
    m.use(l);
  EXPECT_EQ(m.rule.counts().departures, relearned);
  EXPECT_EQ(m.fault, "");
}

TEST(stream_rule, what_is_skipped_is_taken_as_not_coming) {
  streamed_model m{row({10, 10, 10, 10, 10, 10, 10, 10}), 30, with_ahead(10)};
  m.begin_pass();
  m.use(0);
  m.use(4);
  EXPECT_EQ(m.rule.counts().departures, 1u);
  for (layer_id l : {5, 6, 7})
    m.use(l);
  EXPECT_EQ(m.rule.counts().departures, 1u) << "from there on it goes by the order again";
  EXPECT_EQ(m.fault, "");
}

TEST(stream_rule, a_use_out_of_order_is_served_and_the_order_goes_on) {
  streamed_model m{row({10, 10, 10, 10, 10, 10}), 30, with_ahead(10)};
  m.begin_pass();
  for (layer_id l : {0, 1, 2, 3})
    m.use(l);
  finish_copies(m);
  m.acquire(0);
  EXPECT_EQ(m.rule.is_ready(0) || m.last_actions.find("+0") != std::string::npos, true);
  finish_copies(m);
  EXPECT_TRUE(m.rule.is_ready(0));
  m.release(0);
  EXPECT_EQ(m.rule.counts().departures, 1u);
  m.use(4);
  m.use(5);
  EXPECT_EQ(m.rule.counts().departures, 1u);
  EXPECT_EQ(m.fault, "");
}

TEST(stream_rule, a_pass_that_breaks_off_changes_the_order_only_when_it_happens_again) {
  streamed_model m{row({10, 10, 10, 10}), 30};
  const ids whole{0, 2, 1, 3};
  m.pass(whole);
  m.pass({0, 2});
  const auto before = m.rule.counts().departures;
  m.pass(whole);
  EXPECT_EQ(m.rule.counts().departures, before);
  m.pass({0, 2});
  m.pass({0, 2});
  m.pass({0, 2, 1});
  EXPECT_EQ(m.rule.counts().departures, before + 1) << "1 is new to an order of 0 and 2";
}

TEST(stream_rule, tied_units_come_once_and_leave_when_no_layer_needs_them_soon) {
  // Unit 0 stands in the first layer and the last, as tied embeddings do; layer 1 is a group of two units.
  streamed_model m{{{10, 5, 5, 10}, {{0}, {1, 2}, {3}, {0}}}, 30, with_ahead(0)};
  for (int i = 0; i < 4; ++i)
    m.pass({0, 1, 2, 3});
  EXPECT_EQ(m.fetched_bytes(), 30u);
  m.set_capacity(20);
  const auto before = m.fetched_bytes();
  for (int i = 0; i < 4; ++i)
    m.pass({0, 1, 2, 3});
  EXPECT_GE(m.fetched_bytes() - before, 4u * 10u);
  EXPECT_LE(m.fetched_bytes() - before, 4u * 20u + 10u) << "half of the model at most is away";
  EXPECT_EQ(m.fault, "");
}

TEST(stream_rule, an_acquired_layer_comes_before_what_the_plan_wants) {
  stream_limits limits = with_ahead(10);
  limits.max_coming_bytes = 10;
  streamed_model m{row({10, 10, 10, 10, 10, 10}), 40, limits};
  m.begin_pass();
  EXPECT_EQ(m.last_actions, "+0 ") << "no more than that on its way";
  m.acquire(3);
  EXPECT_EQ(m.last_actions, "+3 ");
  m.finish_copy();
  EXPECT_EQ(m.last_actions, "") << "3 is on its way";
  m.finish_copy();
  EXPECT_EQ(m.last_actions, "+4 ");
}

TEST(stream_rule, under_pressure_all_but_what_is_in_use_leaves_at_once) {
  streamed_model m{row({10, 10, 10, 10}), 40};
  m.pass({0, 1, 2, 3});
  m.begin_pass();
  m.acquire(0);
  m.set_capacity(20);
  EXPECT_EQ(m.last_actions, "-3 -2 ") << "those needed last";
  m.acquire(1);
  m.set_capacity(10);
  EXPECT_EQ(m.last_actions, "") << "both are in use";
  EXPECT_EQ(m.taken_bytes(), 20u);
  m.release(0);
  EXPECT_EQ(m.last_actions, "-0 ");
  m.set_capacity(40);
  EXPECT_EQ(m.last_actions, "+2 +3 +0 ") << "in the order of need";
  EXPECT_EQ(m.fault, "");
}

TEST(stream_rule, what_is_on_its_way_when_the_capacity_shrinks_leaves_when_it_is_there) {
  streamed_model m{row({10, 10, 10}), 30};
  m.begin_pass();
  m.set_capacity(10);
  EXPECT_EQ(m.last_actions, "");
  m.finish_copy(2);
  EXPECT_EQ(m.last_actions, "-2 ");
  m.finish_copy(1);
  EXPECT_EQ(m.last_actions, "-1 ");
  m.finish_copy(0);
  EXPECT_EQ(m.last_actions, "");
}

TEST(stream_rule, a_lost_unit_comes_again_when_it_is_acquired_and_not_before) {
  streamed_model m{row({10, 10}), 20};
  m.begin_pass();
  m.finish_copy(0, true);
  EXPECT_EQ(m.last_actions, "");
  finish_copies(m);
  m.begin_pass();
  EXPECT_EQ(m.last_actions, "");
  m.acquire(0);
  EXPECT_EQ(m.last_actions, "+0 ");
  m.finish_copy(0, true);
  EXPECT_EQ(m.last_actions, "") << "whoever waits for it is told by the caller";
  m.acquire(0);
  EXPECT_EQ(m.last_actions, "+0 ");
  m.finish_copy();
  EXPECT_TRUE(m.rule.is_ready(0));
}

TEST(stream_rule, a_layer_larger_than_the_device_is_blocked_and_the_others_come) {
  streamed_model m{row({10, 50, 10}), 30};
  m.begin_pass();
  EXPECT_EQ(m.rule.blocked(1), std::nullopt) << "nobody asked for it";
  m.acquire(1);
  EXPECT_EQ(m.rule.blocked(1), (stream_block{50, 50, 0, 30}));
  m.release(1);
  EXPECT_EQ(m.rule.blocked(1), std::nullopt);
  m.use(0);
  m.use(2);
  EXPECT_EQ(m.fault, "");
}

TEST(stream_rule, a_use_inside_others_is_blocked_until_one_of_them_ends) {
  streamed_model m{row({10, 10, 10, 10}), 30, with_ahead(0)};
  m.begin_pass();
  for (layer_id l : {0, 1, 2})
    m.acquire(l);
  finish_copies(m);
  m.acquire(3);
  EXPECT_EQ(m.rule.blocked(3), (stream_block{10, 10, 30, 30}));
  m.release(1);
  EXPECT_EQ(m.last_actions, "-1 +3 ");
  EXPECT_EQ(m.rule.blocked(3), std::nullopt);
}

TEST(stream_rule, a_long_pass_is_cut_into_passes) {
  stream_limits limits;
  limits.max_uses_per_pass = 3;
  streamed_model m{row({10, 10, 10}), 20, limits};
  m.begin_pass();
  for (int i = 0; i < 10; ++i)
    for (layer_id l : {2, 0, 1})
      m.use(l);
  EXPECT_EQ(m.rule.counts().passes, 10u);
  EXPECT_EQ(m.rule.counts().departures, 3u) << "all in the first three uses";
  EXPECT_EQ(m.fault, "");
}

TEST(stream_rule, unknown_rates_leave_one_largest_layer_ahead_where_there_is_room) {
  EXPECT_EQ((stream_rule{row({10, 30, 10, 20}), 65}.counts().ahead_bytes), 30u);
  EXPECT_EQ((stream_rule{row({10, 30, 10, 20}), 40}.counts().ahead_bytes), 10u);
  EXPECT_EQ((stream_rule{row({10, 30, 10, 20}), 30}.counts().ahead_bytes), 0u);
  EXPECT_EQ((stream_rule{row({10, 30, 10, 20}), 70}.counts().ahead_bytes), 0u);
}

TEST(stream_rule, room_ahead_is_chosen_by_what_a_pass_takes) {
  const auto shape = row(std::vector<uint64_t>(20, 1000));
  struct given {
    const char* what;
    uint64_t compute_ns;
    uint64_t at_least_bytes, at_most_bytes;
  };
  // A link of a byte per nanosecond: a layer is copied in 1000 ns. A dozen of 20 layers fit.
  for (const auto& g :
       {given{
            "computing hides all copies: no more than a layer, and half of one makes the plan do with a whole one less",
            1000, 500, 1000},
        given{"copies take all of the time, whatever runs beside them", 1, 0, 0}}) {
    stream_rule rule{shape, 12'000};
    rule.set_rates({1e9, std::vector<uint64_t>(20, g.compute_ns)});
    rule.begin_pass();
    EXPECT_GE(rule.counts().ahead_bytes, g.at_least_bytes) << g.what;
    EXPECT_LE(rule.counts().ahead_bytes, g.at_most_bytes) << g.what;
  }
}

TEST(stream_rule, copies_of_a_pass_are_spread_over_it) {
  constexpr layer_id layers = 32;
  streamed_model model{row(std::vector<uint64_t>(layers, 10)), 250, with_ahead(10)};  // 24 and one ahead: 8 are absent
  std::vector<layer_id> order(layers);
  std::iota(order.begin(), order.end(), layer_id{0});
  for (int i = 0; i < 5; ++i)
    model.pass(order);
  const auto before = model.fetched_bytes();
  model.begin_pass();
  for (auto layer : order) {
    model.use(layer);
    const double share = (layer + 1.0) / layers;
    EXPECT_NEAR(static_cast<double>(model.fetched_bytes() - before), 80 * share, 20) << "at layer " << layer;
  }
}

TEST(stream_rule, the_forecast_of_a_pass_is_that_of_its_copies_and_uses) {
  const auto shape = row({1000, 1000, 1000});
  const stream_rates rates{1e9, {500, 500, 500}};
  EXPECT_EQ(forecast_pass(shape, rates, 3000, with_ahead(0)).pass_ns, 1500);
  EXPECT_EQ(forecast_pass(shape, rates, 3000, with_ahead(0)).moved_bytes, 0u);
  const auto alone = forecast_pass(shape, rates, 1000, with_ahead(0));
  EXPECT_EQ(alone.pass_ns, 4500) << "copy, use, copy, use, copy, use";
  EXPECT_EQ(alone.moved_bytes, 3000u);
  const auto beside = forecast_pass(shape, rates, 2000, with_ahead(1000));
  EXPECT_LE(beside.pass_ns, 3000) << "the link never rests";
}

}  // namespace
