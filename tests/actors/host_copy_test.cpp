// Loads to the device by way of a host copy: where the bytes come from, what is page-locked, and what gives way.
#include "tests/actors/device_loads.hpp"

namespace longshore {
namespace {

constexpr auto model_bytes = 20 * mebibyte + 77;

using host_copies = device_loads;

runtime_options with_segments(std::shared_ptr<device> target) {
  auto options = with(std::move(target));
  options.holder.pin_segment_bytes = 4 * mebibyte;
  options.pin_budget_bytes = 48 * mebibyte;
  return options;
}

uint64_t bytes_from_disk(const model_answer& answer) {
  const auto& report = answer.lease->model().reports.at(0);
  return report.direct_bytes + report.buffered_bytes;
}

TEST_F(host_copies, are_read_once_and_uploaded_from_where_they_are) {
  const auto target = std::make_shared<host_device>(host_device_options{.check_sources = true});
  auto loader = started(with_segments(target));
  {
    const auto answer = loader->load(request_with_copy("m", model_bytes, 1));
    ASSERT_TRUE(answer.has_value()) << to_text(answer.error());
    EXPECT_EQ(bytes_from_disk(*answer), 0U) << "the host copy's holder reads, not the device's";
    EXPECT_GE(answer->lease->model().reports.at(0).host_copy_bytes, model_bytes);
    EXPECT_EQ(target->counts().unpinned_copies, 0U);
    expect_right_bytes(*answer);
    EXPECT_EQ(loader->staging()->peak_bytes, 0U) << "what is page-locked needs no slot";
    EXPECT_GE(target->counts().registered.now, model_bytes);
    EXPECT_EQ(loader->budget()->used.pinned_bytes, target->counts().registered.now);
  }
  EXPECT_TRUE(loader->stop().has_value());
  loader.reset();
  EXPECT_EQ(target->counts().registered.now, 0U);
  EXPECT_EQ(target->counts().changed_sources, 0U);
}

TEST_F(host_copies, bring_a_model_back_to_the_device_without_the_disk) {
  const auto target = std::make_shared<host_device>(host_device_options{.capacity_bytes = 28 * mebibyte});
  auto loader = started(with_segments(target));
  const auto first = request_with_copy("first", model_bytes, 1);
  ASSERT_TRUE(loader->load(first).has_value());
  ASSERT_TRUE(loader->load(request_with_copy("second", model_bytes, 2)).has_value());
  EXPECT_EQ(loader->list()->entries.size(), 1U) << "the device has room for one";
  const auto again = loader->load(first);
  ASSERT_TRUE(again.has_value()) << to_text(again.error());
  expect_right_bytes(*again);
  EXPECT_EQ(bytes_from_disk(*again), 0U);
  EXPECT_GE(again->lease->model().reports.at(0).host_copy_bytes, model_bytes);
}

TEST_F(host_copies, that_are_not_pinned_pass_through_slots) {
  const auto target = std::make_shared<host_device>(host_device_options{.check_sources = true});
  auto options = with_segments(target);
  options.pin_budget_bytes = 0;
  auto loader = started(options);
  const auto answer = loader->load(request_with_copy("m", model_bytes, 3));
  ASSERT_TRUE(answer.has_value()) << to_text(answer.error());
  expect_right_bytes(*answer);
  EXPECT_GE(answer->lease->model().reports.at(0).host_copy_bytes, model_bytes);
  EXPECT_EQ(target->counts().registered.most, 0U);
  EXPECT_GT(loader->staging()->peak_bytes, 0U);
}

TEST_F(host_copies, are_pinned_as_far_as_the_budget_goes) {
  const auto target = std::make_shared<host_device>();
  auto options = with_segments(target);
  options.pin_budget_bytes = 14 * mebibyte;
  auto loader = started(options);
  const auto answer = loader->load(request_with_copy("m", model_bytes, 4));
  ASSERT_TRUE(answer.has_value()) << to_text(answer.error());
  expect_right_bytes(*answer);
  EXPECT_LE(target->counts().registered.most, 14 * mebibyte);
  EXPECT_GE(target->counts().registered.most, 8 * mebibyte);
}

TEST_F(host_copies, for_which_there_is_no_memory_leave_the_disk) {
  const auto target = std::make_shared<host_device>();
  auto options = with_segments(target);
  options.host_limit_bytes = 16 * mebibyte;
  auto loader = started(options);
  const auto answer = loader->load(request_with_copy("m", model_bytes, 5));
  ASSERT_TRUE(answer.has_value()) << to_text(answer.error());
  expect_right_bytes(*answer);
  EXPECT_GE(bytes_from_disk(*answer), model_bytes);
}

TEST_F(host_copies, give_way_to_a_model_that_someone_wants) {
  const auto target = std::make_shared<host_device>();
  auto loader = started(with_segments(target));
  ASSERT_TRUE(loader->load(request_with_copy("on device", model_bytes, 6)).has_value());
  const auto path = files.write("on host", 40 * mebibyte, 7);
  const auto answer = loader->load(files.request("on host", {path}));
  ASSERT_TRUE(answer.has_value()) << to_text(answer.error());
  EXPECT_TRUE(files.holds_right_bytes(*answer));
  EXPECT_EQ(loader->list()->entries.size(), 2U) << "the device's copy stays";
  EXPECT_LE(loader->budget()->peak.host_bytes, 64 * mebibyte);
}

TEST_F(host_copies, end_with_the_model_that_is_removed) {
  const auto target = std::make_shared<host_device>();
  auto loader = started(with_segments(target));
  ASSERT_TRUE(loader->load(request_with_copy("m", model_bytes, 8)).has_value());
  ASSERT_TRUE(loader->remove("m").has_value());
  ASSERT_TRUE(loader->stop().has_value());
  EXPECT_EQ(target->counts().allocated.now, 0U);
}

TEST_F(host_copies, of_an_owned_model_are_the_model_itself) {
  const auto target = std::make_shared<host_device>();
  auto loader = started(with_segments(target));
  const auto path = files.write("m", model_bytes, 9);
  const auto on_host = loader->load(files.request("host", {path}));
  ASSERT_TRUE(on_host.has_value());
  const auto on_device = loader->load(files.request("device", {path}, hold_choice::device));
  ASSERT_TRUE(on_device.has_value()) << to_text(on_device.error());
  expect_right_bytes(*on_device);
  EXPECT_EQ(bytes_from_disk(*on_device), 0U);
}

TEST_F(host_copies, survive_cancelling_at_any_time) {
  expect_nothing_left_by_cancelling(with_segments, [this] { return request_with_copy("m", model_bytes, 10); });
}

TEST_F(host_copies, pin_a_model_that_shall_be_pinned) {
  const auto target = std::make_shared<host_device>();
  auto loader = started(with_segments(target));
  const auto path = files.write("lora", model_bytes, 11);
  const auto answer = loader->load(files.request("lora", {path}, hold_choice::pinned));
  ASSERT_TRUE(answer.has_value()) << to_text(answer.error());
  EXPECT_TRUE(files.holds_right_bytes(*answer));
  EXPECT_GE(answer->lease->model().reports.at(0).pinned_bytes, model_bytes);
}

TEST_F(host_copies, go_beside_each_other_in_several_streams) {
  const auto target = std::make_shared<host_device>(host_device_options{.check_sources = true});
  auto options = with_segments(target);
  options.streams = 3;
  auto loader = started(options);
  std::vector<preload_item> items;
  for (uint64_t i = 0; i < 6; ++i)
    items.push_back({.request = request("m" + std::to_string(i), 3 * mebibyte + i, i)});
  const auto outcomes = loader->preload(std::move(items));
  ASSERT_TRUE(outcomes.has_value());
  for (const auto& outcome : *outcomes) {
    ASSERT_TRUE(outcome.answer.lease) << to_text(outcome.answer.reason);
    expect_right_bytes(outcome.answer);
  }
  EXPECT_LE(loader->staging()->peak_bytes, 8 * mebibyte);
}

}  // namespace
}  // namespace longshore
