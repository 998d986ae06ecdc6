// Whose turn it is: rotation, urgency, cancellation, and a queue beside it that counts.
#include "cache/fair_queue.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <string>

using namespace longshore;

namespace {

/// All that is left, in order of their turns, as text.
std::string drain(fair_queue<std::string>& queue) {
  std::string order;
  while (auto item = queue.pop())
    order += *item + " ";
  return order;
}

TEST(fair_queue, an_empty_queue_gives_nothing) {
  fair_queue<std::string> queue;
  EXPECT_FALSE(queue.pop());
  EXPECT_TRUE(queue.empty());
  EXPECT_TRUE(queue.cancel(1).empty());
  queue.make_urgent(1);
  EXPECT_TRUE(queue.empty());
}

TEST(fair_queue, loads_take_turns_and_keep_their_own_order) {
  fair_queue<std::string> queue;
  for (const auto* item : {"a1", "a2", "a3"})
    queue.push(1, false, item);
  queue.push(2, false, "b1");
  queue.push(3, false, "c1");
  queue.push(3, false, "c2");
  EXPECT_EQ(queue.size(), 6u);
  EXPECT_EQ(drain(queue), "a1 b1 c1 a2 c2 a3 ");
}

TEST(fair_queue, a_load_that_comes_back_waits_for_its_turn) {
  fair_queue<std::string> queue;
  queue.push(1, false, "a1");
  queue.push(2, false, "b1");
  queue.push(2, false, "b2");
  EXPECT_EQ(queue.pop(), "a1");
  queue.push(1, false, "a2");
  EXPECT_EQ(drain(queue), "b1 a2 b2 ");
}

TEST(fair_queue, those_that_someone_waits_for_go_first_and_take_turns) {
  fair_queue<std::string> queue;
  for (const auto* item : {"a1", "a2"})
    queue.push(1, false, item);
  for (const auto* item : {"b1", "b2"})
    queue.push(2, true, item);
  for (const auto* item : {"c1", "c2"})
    queue.push(3, true, item);
  EXPECT_EQ(drain(queue), "b1 c1 b2 c2 a1 a2 ");
}

TEST(fair_queue, a_prefetch_can_become_urgent) {
  fair_queue<std::string> queue;
  queue.push(1, false, "a1");
  queue.push(2, false, "b1");
  queue.push(2, false, "b2");
  queue.make_urgent(2);
  EXPECT_EQ(drain(queue), "b1 b2 a1 ");
  queue.push(1, false, "a1");
  queue.push(2, false, "b1");
  queue.push(2, true, "b2");  // one urgent piece makes the load urgent
  EXPECT_EQ(drain(queue), "b1 b2 a1 ");
}

TEST(fair_queue, a_cancelled_load_gives_its_items_back_in_order) {
  fair_queue<std::string> queue;
  queue.push(1, false, "a1");
  queue.push(2, false, "b1");
  queue.push(1, false, "a2");
  EXPECT_EQ(queue.cancel(1), (std::vector<std::string>{"a1", "a2"}));
  EXPECT_EQ(queue.size(), 1u);
  EXPECT_EQ(drain(queue), "b1 ");
}

/// What the queue promises, by its definition and at any cost.
struct plain_queue {
  std::map<uint64_t, std::vector<int>> items;
  std::map<uint64_t, bool> urgent;
  std::map<uint64_t, uint64_t> waits_since;  // the turn at which the load came, or had its last
  uint64_t turn = 0;

  void push(uint64_t load, bool is_urgent, int item) {
    if (items[load].empty()) {
      urgent[load] = false;
      waits_since[load] = ++turn;
    }
    items[load].push_back(item);
    urgent[load] = urgent[load] || is_urgent;
  }

  std::optional<int> pop() {
    const uint64_t* next = nullptr;
    for (const auto& [load, queued] : items)
      if (!queued.empty() && (next == nullptr || std::pair{!urgent[load], waits_since[load]} <
                                                     std::pair{!urgent[*next], waits_since[*next]}))
        next = &load;
    if (next == nullptr)
      return std::nullopt;
    auto& queued = items[*next];
    const auto item = queued.front();
    queued.erase(queued.begin());
    waits_since[*next] = ++turn;
    return item;
  }

  std::vector<int> cancel(uint64_t load) { return std::exchange(items[load], {}); }

  size_t size() const {
    size_t sum = 0;
    for (const auto& [load, queued] : items)
      sum += queued.size();
    return sum;
  }
};

RC_GTEST_PROP(fair_queue, does_what_it_promises_in_any_history, ()) {
  fair_queue<int> queue;
  plain_queue plain;
  int item = 0;
  for (const auto step : *rc::gen::container<std::vector<uint16_t>>(rc::gen::arbitrary<uint16_t>())) {
    const uint64_t load = step / 16 % 5;
    if (step % 16 < 8) {
      queue.push(load, step % 16 == 0, item);
      plain.push(load, step % 16 == 0, item);
      ++item;
    } else if (step % 16 < 14) {
      RC_ASSERT(queue.pop() == plain.pop());
    } else if (step % 16 == 14) {
      queue.make_urgent(load);
      plain.urgent[load] = !plain.items[load].empty();
    } else {
      RC_ASSERT(queue.cancel(load) == plain.cancel(load));
    }
    RC_ASSERT(queue.size() == plain.size());
    RC_ASSERT(queue.empty() == (plain.size() == 0));
  }
  while (const auto next = plain.pop())
    RC_ASSERT(queue.pop() == next);
  RC_ASSERT(queue.empty());
}

}  // namespace
