// Memory runs short while loads run: what nobody uses is given back, the loads go on, and their bytes are right.
#include <atomic>
#include <future>

#include "tests/actors/device_loads.hpp"

namespace longshore {
namespace {

constexpr auto machine_bytes = 256 * mebibyte;
constexpr auto others_bytes = 110 * mebibyte;  // what other programs take, all at once
constexpr std::chrono::seconds deadline{20};

/// A machine whose memory goes to the runtime's budget and to other programs.
struct small_machine {
  std::atomic<uint64_t> used_bytes{0}, taken_by_others_bytes{0};

  uint64_t available_bytes() const {
    const auto gone = used_bytes + taken_by_others_bytes;
    return machine_bytes - std::min<uint64_t>(gone, machine_bytes);
  }
  memory_sample sample() const {
    return {.host = {{.name = "machine", .limit_bytes = machine_bytes, .available_bytes = available_bytes()}}};
  }
};

class pressure_loads : public device_loads {
protected:
  runtime_options options_on(small_machine& machine, std::shared_ptr<device> target) {
    auto options = with(std::move(target));
    options.host_limit_bytes = machine_bytes;
    options.staging_bytes = 16 * mebibyte;
    options.holder.pin_segment_bytes = 4 * mebibyte;
    options.pressure_interval = std::chrono::milliseconds{10};
    options.memory_sampler = [&machine] { return machine.sample(); };
    options.on_progress = [this](const load_progress& news) {
      if (news.stage == load_stage::reading && news.bytes_done > 0)
        reading = true;
    };
    return options;
  }

  /// Looks at the budget until it is as wanted; false when that takes too long.
  template <class Condition>
  static bool watch(small_machine& machine, runtime& loader, const Condition& is_so) {
    const auto until = std::chrono::steady_clock::now() + deadline;
    while (std::chrono::steady_clock::now() < until) {
      machine.used_bytes = loader.budget()->used.host_bytes;
      if (is_so())
        return true;
    }
    return false;
  }

  std::atomic<bool> reading{false};
};

TEST_F(pressure_loads, go_on_while_idle_copies_are_given_back) {
  small_machine machine;
  const auto target =
      std::make_shared<host_device>(host_device_options{.link_bytes_per_s = 300'000'000, .check_sources = true});
  auto loader = started(options_on(machine, target));
  const auto marks = marks_of(machine_bytes);
  for (uint64_t i = 0; i < 3; ++i)
    ASSERT_TRUE(loader->load(request_with_copy("idle" + std::to_string(i), 40 * mebibyte, i)).has_value());
  machine.used_bytes = loader->budget()->used.host_bytes;
  ASSERT_GE(machine.used_bytes, 120 * mebibyte);
  ASSERT_EQ(loader->pressure()->host.times, 0U);

  std::vector<get_model> requests;
  for (uint64_t i = 0; i < 4; ++i)
    requests.push_back(request("busy" + std::to_string(i), 20 * mebibyte + i, 10 + i));
  reading = false;
  std::vector<std::future<expected<model_answer>>> loads;
  for (const auto& wanted : requests)
    loads.push_back(std::async(std::launch::async, [&loader, &wanted] { return loader->load(wanted); }));
  ASSERT_TRUE(watch(machine, *loader, [&] { return reading.load(); }));

  machine.taken_by_others_bytes = others_bytes;
  ASSERT_LT(machine.available_bytes(), marks.low_bytes);
  const auto short_since = std::chrono::steady_clock::now();
  EXPECT_TRUE(watch(machine, *loader, [&] { return machine.available_bytes() >= marks.low_bytes; }));
  const std::chrono::duration<double, std::milli> was_short = std::chrono::steady_clock::now() - short_since;
  RecordProperty("milliseconds_until_above_the_mark", std::to_string(was_short.count()));

  for (auto& load : loads) {
    const auto answer = load.get();
    ASSERT_TRUE(answer.has_value()) << to_text(answer.error());
    expect_right_bytes(*answer);
  }
  EXPECT_GT(loader->pressure()->host.times, 0U);
  EXPECT_EQ(loader->list()->entries.size(), 7U) << "what is on the device stays there";
  EXPECT_TRUE(loader->stop().has_value());
  loader.reset();
  EXPECT_EQ(target->counts().registered.now, 0U);
  EXPECT_EQ(target->counts().changed_sources, 0U);
}

TEST_F(pressure_loads, callers_blocks_are_asked_back_before_models) {
  small_machine machine;
  auto loader = started(options_on(machine, std::make_shared<host_device>()));
  std::promise<uint64_t> asked;
  auto block = loader->register_memory(
      {.name = "cached output", .bytes = 60 * mebibyte, .on_pressure = [&](uint64_t n) { asked.set_value(n); }});
  ASSERT_TRUE(block.has_value()) << to_text(block.error());
  ASSERT_TRUE(loader->load(request_with_copy("idle", 40 * mebibyte, 1)).has_value());
  machine.used_bytes = loader->budget()->used.host_bytes;
  machine.taken_by_others_bytes = 130 * mebibyte;
  auto news = asked.get_future();
  ASSERT_EQ(news.wait_for(deadline), std::future_status::ready);
  EXPECT_EQ(news.get(), 60 * mebibyte);
  block->reset();
  EXPECT_TRUE(watch(machine, *loader, [&] { return machine.used_bytes <= 44 * mebibyte; }));
  EXPECT_GE(machine.used_bytes, 42 * mebibyte) << "the model's copy was not needed";
}

}  // namespace
}  // namespace longshore
