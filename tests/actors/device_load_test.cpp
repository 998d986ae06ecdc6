// Loads to a device with real threads, real files and the host device: the right bytes, the limits, and every failure.
#include <atomic>

#include "tests/actors/device_loads.hpp"

namespace longshore {
namespace {

TEST_F(device_loads, bring_every_byte_through_few_slots) {
  const auto target = std::make_shared<host_device>(host_device_options{.check_sources = true});
  auto loader = started(with(target));
  {
    const auto answer = loader->load(request("m", 20 * mebibyte + 77, 1));
    ASSERT_TRUE(answer.has_value()) << to_text(answer.error());
    EXPECT_GE(answer->lease->model().reports.at(0).uploaded_bytes, 20 * mebibyte + 77);
    EXPECT_EQ(target->counts().unpinned_copies, 0U);
    expect_right_bytes(*answer);
    EXPECT_TRUE(loader->load(files.request("m", {files.path("m")}, hold_choice::device))->hit);
  }
  const auto staging = loader->staging();
  ASSERT_TRUE(staging.has_value());
  EXPECT_LE(staging->peak_bytes, 8 * mebibyte);
  EXPECT_EQ(staging->pinned_peak_bytes, staging->peak_bytes);
  EXPECT_LE(target->counts().registered.most, 8 * mebibyte);
  EXPECT_TRUE(loader->stop().has_value());
  loader.reset();
  EXPECT_EQ(target->counts().registered.now, 0U);
  EXPECT_EQ(target->counts().changed_sources, 0U);
}

TEST_F(device_loads, do_without_page_locked_memory) {
  const auto target = std::make_shared<host_device>();
  auto options = with(target);
  options.pin_budget_bytes = 0;
  auto loader = started(options);
  const auto answer = loader->load(request("m", 5 * mebibyte, 2));
  ASSERT_TRUE(answer.has_value()) << to_text(answer.error());
  expect_right_bytes(*answer);
  EXPECT_EQ(target->counts().registered.most, 0U);
}

TEST_F(device_loads, take_turns_in_device_memory_and_evict_what_nobody_uses) {
  const auto target = std::make_shared<host_device>(host_device_options{.capacity_bytes = 12 * mebibyte});
  auto loader = started(with(target));
  for (uint64_t i = 0; i < 4; ++i) {
    const auto answer = loader->load(request("m" + std::to_string(i), 7 * mebibyte, i));
    ASSERT_TRUE(answer.has_value()) << to_text(answer.error());
    expect_right_bytes(*answer);
  }
  EXPECT_EQ(loader->list()->entries.size(), 1U);
  EXPECT_LE(target->counts().allocated.most, 12 * mebibyte);
}

TEST_F(device_loads, say_by_how_much_a_model_is_too_large) {
  auto loader = started(with(std::make_shared<host_device>(host_device_options{.capacity_bytes = 4 * mebibyte})));
  const auto answer = loader->load(request("m", 7 * mebibyte, 3));
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code, errc::out_of_budget);
  EXPECT_NE(answer.error().what.find("of device memory"), std::string::npos) << answer.error().what;
}

TEST_F(device_loads, without_a_device_are_refused) {
  auto loader = started(with(nullptr));
  const auto answer = loader->load(request("m", mebibyte, 4));
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code, errc::unsupported);
}

TEST_F(device_loads, can_be_cancelled_at_any_time_and_leave_nothing) {
  expect_nothing_left_by_cancelling(with, [this] { return request("m", 12 * mebibyte, 5); });
}

/// Fails one call of the device at every point of a load: an answer comes, and nothing is left behind.
TEST_F(device_loads, survive_each_call_that_fails) {
  const auto wanted = request("m", 5 * mebibyte, 6);
  for (size_t kind = 0; kind < device_operation_count; ++kind)
    for (uint64_t number = 0;; ++number) {
      SCOPED_TRACE(std::to_string(kind) + "." + std::to_string(number));
      std::atomic<bool> reached = false;
      const auto script = [&](const device_call& call) -> std::optional<error> {
        if (static_cast<size_t>(call.kind) != kind || call.number != number)
          return std::nullopt;
        reached = true;
        return error{.code = errc::io_failed, .what = "made to fail"};
      };
      const auto target = std::make_shared<host_device>(host_device_options{.script = script});
      auto loader = started(with(target));
      if (const auto answer = loader->load(wanted); !answer) {
        EXPECT_NE(to_text(answer.error()).find("made to fail"), std::string::npos);
      }
      EXPECT_TRUE(loader->stop().has_value());
      loader.reset();
      if (!reached)
        break;
    }
}

}  // namespace
}  // namespace longshore
