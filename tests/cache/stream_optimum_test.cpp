// How much streaming moves, against what could not be done better with the same room: Belady's rule for units of one
// size, and all that can be done at all for few units of different sizes. Orders, sizes and rooms are random, each from
// its number alone.
#include <algorithm>
#include <cstdio>
#include <limits>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

#include "stream_fixture.hpp"

using namespace longshore;

namespace {

constexpr size_t passes = 12;  // few, for what is exhaustive
constexpr size_t long_run = 50;
constexpr uint64_t instances = 5'000;  // of each of the two kinds

struct instance {
  std::vector<uint64_t> unit_bytes;
  std::vector<unit_id> order;  // of a pass; each use is of one unit
  uint64_t room_bytes = 0;     // of the plan
  uint64_t ahead_bytes = 0;    // beyond it
};

instance random_instance(std::mt19937& rng, size_t units, bool of_one_size) {
  const auto pick = [&](size_t from, size_t to) { return from + rng() % (to - from + 1); };
  instance made;
  const auto largest = pick(1, 20);
  for (size_t i = 0; i < units; ++i)
    made.unit_bytes.push_back(of_one_size ? largest : pick(1, largest));
  for (size_t i = 0; i < units; ++i)
    made.order.push_back(static_cast<unit_id>(i));
  for (auto again = pick(0, units); again-- > 0;)
    made.order.push_back(static_cast<unit_id>(pick(0, units - 1)));
  std::shuffle(made.order.begin(), made.order.end(), rng);
  const auto all = std::accumulate(made.unit_bytes.begin(), made.unit_bytes.end(), uint64_t{0});
  const auto most = *std::max_element(made.unit_bytes.begin(), made.unit_bytes.end());
  made.room_bytes = pick(most, all - 1);
  made.ahead_bytes = pick(0, std::min(2 * most, all - 1 - made.room_bytes));
  return made;
}

/// The rule's moves for the uses of these passes: without those that the end finds still to be used, and with those of
/// units that left unused.
uint64_t moved_by_rule(const instance& given, size_t pass_count) {
  stream_shape shape{given.unit_bytes, {}};
  for (auto u : given.order)
    shape.layers.push_back({u});
  stream_limits limits;
  limits.ahead_bytes = given.ahead_bytes;
  streamed_model model{shape, given.room_bytes + given.ahead_bytes, limits};
  EXPECT_EQ(model.rule.counts().ahead_bytes, given.ahead_bytes);
  std::vector<layer_id> uses(given.order.size());
  std::iota(uses.begin(), uses.end(), layer_id{0});
  for (size_t i = 0; i < pass_count; ++i)
    model.pass(uses);
  EXPECT_EQ(model.fault, "");
  return model.fetched_bytes() - model.unused_bytes();
}

/// Belady's: of what is there, the one that is needed last makes room.
uint64_t moved_by_belady(const instance& given, size_t pass_count) {
  const auto frames = given.room_bytes / given.unit_bytes.front();
  const auto uses = given.order.size();
  std::vector<size_t> next_use(given.unit_bytes.size());
  const auto use_after = [&](size_t step) {
    auto at = step + 1;
    while (given.order[at % uses] != given.order[step % uses])
      ++at;
    return at;
  };
  std::vector<unit_id> there;
  uint64_t moved = 0;
  for (size_t step = 0; step < pass_count * uses; ++step) {
    const auto now = given.order[step % uses];
    next_use[now] = use_after(step);
    if (std::find(there.begin(), there.end(), now) != there.end())
      continue;
    moved += given.unit_bytes[now];
    if (there.size() == frames)
      there.erase(std::max_element(there.begin(), there.end(),
                                   [&](unit_id a, unit_id b) { return next_use[a] < next_use[b]; }));
    there.push_back(now);
  }
  return moved;
}

/// The least that any choice moves: the cheapest way to each set of units that can be there after each use.
uint64_t least_moved(const instance& given) {
  constexpr auto no_way = std::numeric_limits<uint64_t>::max();
  const size_t units = given.unit_bytes.size(), sets = size_t{1} << units;
  std::vector<uint64_t> bytes(sets, 0), cost(sets, no_way), next(sets);
  for (size_t set = 0; set < sets; ++set)
    for (size_t u = 0; u < units; ++u)
      bytes[set] += set >> u & 1 ? given.unit_bytes[u] : 0;
  cost[0] = 0;
  for (size_t pass = 0; pass < passes; ++pass)
    for (auto now : given.order) {
      const auto bit = size_t{1} << now;
      std::fill(next.begin(), next.end(), no_way);
      for (size_t set = 0; set < sets; ++set)
        if (cost[set] != no_way)
          next[set | bit] = std::min(next[set | bit], cost[set] + (set & bit ? 0 : given.unit_bytes[now]));
      for (size_t out = 1; out < sets; out <<= 1)  // whatever is not in use can leave
        for (size_t set = 0; out != bit && set < sets; ++set)
          if (set & out)
            next[set ^ out] = std::min(next[set ^ out], next[set]);
      for (size_t set = 0; set < sets; ++set)
        if (bytes[set] > given.room_bytes)
          next[set] = no_way;
      cost.swap(next);
    }
  return *std::min_element(cost.begin(), cost.end());
}

struct comparison {
  std::vector<double> ratios;
  uint64_t moved = 0, least = 0;

  void add(uint64_t by_rule, uint64_t by_reference) {
    ratios.push_back(static_cast<double>(by_rule) / static_cast<double>(by_reference));
    moved += by_rule;
    least += by_reference;
  }
  double total() const { return static_cast<double>(moved) / static_cast<double>(least); }
  double worst() const { return *std::max_element(ratios.begin(), ratios.end()); }

  void print(const char* what) {
    std::sort(ratios.begin(), ratios.end());
    const auto at = [&](double part) {
      return ratios[static_cast<size_t>(part * static_cast<double>(ratios.size() - 1))];
    };
    const auto within = std::upper_bound(ratios.begin(), ratios.end(), 1.02) - ratios.begin();
    std::printf("%s: %zu instances, total %.4f; median %.4f, 90%% %.4f, 99%% %.4f, worst %.4f; within 1.02: %.1f%%\n",
                what, ratios.size(), total(), at(0.5), at(0.9), at(0.99), at(1),
                100.0 * static_cast<double>(within) / static_cast<double>(ratios.size()));
  }
};

TEST(stream_optimum, units_of_one_size_move_as_belady_moves_them) {
  comparison found;
  for (uint32_t number = 1; number <= instances; ++number) {
    std::mt19937 rng{number};
    const auto given = random_instance(rng, 2 + rng() % 23, true);
    found.add(moved_by_rule(given, long_run), moved_by_belady(given, long_run));
    ASSERT_LE(found.ratios.back(), 1.02) << "in instance " << number;
  }
  found.print("one size, Belady");
}

/// The rule has to find out the order, and is held against the reference from the fourth pass on.
TEST(stream_optimum, an_order_that_was_learned_is_as_good) {
  constexpr size_t first = 3, last = first + 24;
  comparison found;
  for (uint32_t number = 1; number <= 500; ++number) {
    std::mt19937 rng{number};
    const auto given = random_instance(rng, 2 + rng() % 23, true);
    stream_shape shape{given.unit_bytes, {}};
    for (unit_id u = 0; u < given.unit_bytes.size(); ++u)
      shape.layers.push_back({u});
    stream_limits limits;
    limits.ahead_bytes = given.ahead_bytes;
    streamed_model model{shape, given.room_bytes + given.ahead_bytes, limits};
    for (size_t i = 0; i < first; ++i)
      model.pass(given.order);
    const auto before = model.fetched_bytes() - model.unused_bytes();
    for (size_t i = first; i < last; ++i)
      model.pass(given.order);
    ASSERT_EQ(model.fault, "") << "in instance " << number;
    found.add(model.fetched_bytes() - model.unused_bytes() - before,
              moved_by_belady(given, last) - moved_by_belady(given, first));
  }
  found.print("learned, Belady");
  EXPECT_LE(found.total(), 1.02);
}

TEST(stream_optimum, units_of_different_sizes_move_hardly_more_than_they_must) {
  comparison found;
  for (uint32_t number = 1; number <= instances; ++number) {
    std::mt19937 rng{number};
    auto given = random_instance(rng, 3 + rng() % 5, false);
    given.ahead_bytes = 0;  // the room ahead keeps what the plan let go, as long as it can: that would flatter the plan
    found.add(moved_by_rule(given, passes), least_moved(given));
  }
  found.print("different sizes, exhaustive");
  EXPECT_LE(found.total(), 1.02);
}

}  // namespace
