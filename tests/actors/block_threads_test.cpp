// Blocks with real threads: what ThreadSanitizer shall see.
#include <atomic>
#include <chrono>
#include <thread>

#include <gtest/gtest.h>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/send.hpp>

#include "actors/block_keeper.hpp"
#include "actors/calling_thread.hpp"
#include "actors/pin_arbiter.hpp"
#include "messages/block.hpp"
#include "messages/pin.hpp"

namespace longshore {
namespace {

using std::chrono::seconds;

constexpr pin_limits small{.host_limit_bytes = 100, .pin_limit_bytes = 60, .hysteresis_bytes = 0};

struct threaded_config : caf::actor_system_config {
  threaded_config() { set("scheduler.policy", caf::atom("sharing")); }
};

/// What the arbiter shows once this is true of it.
template <class Condition>
bool comes_true(const calling_thread& self, const caf::actor& arbiter, Condition condition) {
  const auto until = std::chrono::steady_clock::now() + seconds{30};
  bool is_true = false;
  while (!is_true && std::chrono::steady_clock::now() < until)
    self->request(arbiter, seconds{30}, show_pins{})
        .receive([&](const pin_status& status) { is_true = condition(status); }, [](const caf::error&) {});
  return is_true;
}

TEST(real_blocks, come_and_go_from_many_threads) {
  threaded_config config;
  caf::actor_system system{config};
  const auto arbiter = spawn_pin_arbiter(system, small);
  const auto keeper = spawn_block_keeper(system, arbiter);
  std::atomic<int> calls{0}, granted{0}, refused{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread)
    threads.emplace_back([&, thread] {
      const calling_thread self{system};
      for (int i = 0; i < 100; ++i) {
        const register_block wish{.name = "block",
                                  .bytes = 10 + static_cast<uint64_t>(thread) * 10,
                                  .active = i % 2 == 0,
                                  .on_pressure = [&](uint64_t) { ++calls; }};
        block_answer answer;
        self->request(keeper, seconds{60}, wish)
            .receive([&](const block_answer& a) { answer = a; }, [](const caf::error&) {});
        ++(answer.block ? granted : refused);
        if (!answer.block)
          continue;
        answer.block->set_active(i % 3 == 0);
        caf::anon_send(arbiter, machine_pressure{5});
        if (i % 5 == 0)
          answer.block->decline();
      }
    });
  for (auto& thread : threads)
    thread.join();
  EXPECT_EQ(granted + refused, 400);
  EXPECT_GT(granted, 0);
  {
    const calling_thread self{system};
    EXPECT_TRUE(
        comes_true(self, arbiter, [](const pin_status& s) { return s.used == memory_bytes{} && s.accounts.empty(); }));
  }
  for (const auto& actor : {keeper, arbiter})
    caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
}

TEST(real_blocks, outlive_their_runtime) {
  std::shared_ptr<const memory_block> block;
  {
    threaded_config config;
    caf::actor_system system{config};
    const auto arbiter = spawn_pin_arbiter(system, small);
    const auto keeper = spawn_block_keeper(system, arbiter);
    {
      const calling_thread self{system};
      self->request(keeper, seconds{60}, register_block{.name = "b", .bytes = 10, .on_pressure = [](uint64_t) {}})
          .receive([&](const block_answer& a) { block = a.block; }, [](const caf::error&) {});
    }
    for (const auto& actor : {keeper, arbiter})
      caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
  }
  ASSERT_TRUE(block);
  block->set_active(true);
  block->decline();
  EXPECT_EQ(block->bytes(), 10U);
}

}  // namespace
}  // namespace longshore
