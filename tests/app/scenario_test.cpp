#include "app/simulate/scenario.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace longshore {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

json small_scenario() {
  return json::parse(R"({
    "machine": {"host_limit": "1 GiB", "disk": {"gb_per_s": 2, "latency_us": 100},
                "device_capacity": "2 GB", "link": {"gb_per_s": 12}},
    "models": [{"name": "a", "tensors": [{"count": 3, "bytes": "1.5 MB"}, {"bytes": 77}]},
               {"name": "b", "kind": "lora", "layout": "clip_l", "scale": 0.5}],
    "steps": [{"load": "a", "until": "later"},
              {"load": "b", "name": "later", "hold": "device", "keep": true, "urgent": false, "use_s": 0.25},
              {"load": "a", "name": "third", "at_s": 1.5, "hold": "mapped"},
              {"load": "a", "name": "fourth", "after": "later"}]})");
}

expected<scenario> parse(const json& document) { return parse_scenario(document.dump(), "s.json"); }

TEST(scenario, is_read_with_its_defaults) {
  const auto read = parse(small_scenario());
  ASSERT_TRUE(read) << to_text(read.error());
  const auto& machine = read->machine;
  EXPECT_EQ(machine.host_limit_bytes, uint64_t{1} << 30);
  EXPECT_EQ(machine.device_capacity_bytes, 2'000'000'000U);
  EXPECT_EQ(machine.staging_bytes, 256U << 20);
  EXPECT_EQ(machine.pin_budget_bytes, machine.host_limit_bytes / 2);
  EXPECT_EQ(machine.streams, 1U);
  EXPECT_EQ(machine.disk.bytes_per_s, 2'000'000'000U);
  EXPECT_EQ(machine.disk.latency, std::chrono::microseconds{100});
  EXPECT_EQ(machine.unpinned_bytes_per_s, machine.link.bytes_per_s);
  EXPECT_EQ(machine.register_bytes_per_s, 0U);
  ASSERT_EQ(read->models.size(), 2U);
  EXPECT_EQ(read->models[0].kind, model_kind::data);
  ASSERT_EQ(read->models[0].tensors.size(), 2U);
  EXPECT_EQ(read->models[0].tensors[0].count, 3U);
  EXPECT_EQ(read->models[0].tensors[0].size_bytes, 1'500'000U);
  EXPECT_EQ(read->models[0].tensors[1].count, 1U);
  EXPECT_EQ(read->models[1].kind, model_kind::lora);
  EXPECT_EQ(read->models[1].scale, 0.5);
}

TEST(scenario, steps_begin_one_after_the_other_unless_they_say_otherwise) {
  const auto read = parse(small_scenario());
  ASSERT_TRUE(read) << to_text(read.error());
  const auto& steps = read->steps;
  ASSERT_EQ(steps.size(), 4U);
  EXPECT_FALSE(steps[0].at || steps[0].after);
  EXPECT_EQ(steps[0].until, 1U);
  EXPECT_EQ(steps[0].hold, hold_choice::owned);
  EXPECT_TRUE(steps[0].urgent);
  EXPECT_EQ(steps[1].after, 0U);
  EXPECT_EQ(steps[1].hold, hold_choice::device);
  EXPECT_TRUE(steps[1].keep);
  EXPECT_FALSE(steps[1].urgent);
  EXPECT_EQ(steps[1].use, milliseconds{250});
  EXPECT_EQ(steps[2].at, nanoseconds{milliseconds{1500}});
  EXPECT_FALSE(steps[2].after);
  EXPECT_EQ(steps[3].after, 1U);
}

struct wrong_value {
  const char* at;     ///< what is replaced or added, as a JSON pointer
  const char* value;  ///< null: it is taken out
  const char* where;  ///< what the error names
};

class wrong_scenario : public testing::TestWithParam<wrong_value> {};

TEST_P(wrong_scenario, is_refused_with_its_place) {
  auto document = small_scenario();
  const json::json_pointer at{GetParam().at};
  if (GetParam().value == nullptr)
    document[at.parent_pointer()].erase(at.back());
  else
    document[at] = json::parse(GetParam().value);
  const auto read = parse(document);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, errc::bad_config);
  EXPECT_EQ(read.error().where, GetParam().where) << to_text(read.error());
}

INSTANTIATE_TEST_SUITE_P(all, wrong_scenario,
                         testing::Values(wrong_value{"/machin", "{}", "/machin"},
                                         wrong_value{"/machine", nullptr, "/machine"},
                                         wrong_value{"/models", "[]", "/models"}, wrong_value{"/steps", "{}", "/steps"},
                                         wrong_value{"/machine/host_limit", nullptr, "/machine/host_limit"},
                                         wrong_value{"/machine/host_limit", "\"16 Gb\"", "/machine/host_limit"},
                                         wrong_value{"/machine/host_limit", "-1", "/machine/host_limit"},
                                         wrong_value{"/machine/pin_budgt", "0", "/machine/pin_budgt"},
                                         wrong_value{"/machine/disk/gb_per_s", "0", "/machine/disk/gb_per_s"},
                                         wrong_value{"/machine/disk/gb_per_s", "\"2\"", "/machine/disk/gb_per_s"},
                                         wrong_value{"/machine/disk/gb_per_s", nullptr, "/machine/disk/gb_per_s"},
                                         wrong_value{"/machine/disk/latency_us", "-1", "/machine/disk/latency_us"},
                                         wrong_value{"/machine/link", nullptr, "/machine/link"},
                                         wrong_value{"/machine/device_capacity", nullptr, "/machine/link"},
                                         wrong_value{"/models/0/name", "\"a/b\"", "/models/0/name"},
                                         wrong_value{"/models/1/name", "\"a\"", "/models/1/name"},
                                         wrong_value{"/models/1/kind", "\"lorra\"", "/models/1/kind"},
                                         wrong_value{"/models/0/layout", "\"sdxl\"", "/models/0"},
                                         wrong_value{"/models/1/layout", nullptr, "/models/1"},
                                         wrong_value{"/models/0/tensors/0/count", "1.5", "/models/0/tensors/0/count"},
                                         wrong_value{"/models/0/tensors/0/bytes", "\"4000 TB\"", "/models/0/tensors/0"},
                                         wrong_value{"/models/0/tensors/1/bytes", nullptr, "/models/0/tensors/1/bytes"},
                                         wrong_value{"/steps/0/load", "\"c\"", "/steps/0/load"},
                                         wrong_value{"/steps/0/hold", "\"auto\"", "/steps/0/hold"},
                                         wrong_value{"/steps/0/keep", "1", "/steps/0/keep"},
                                         wrong_value{"/steps/0/host_copy", "true", "/steps/0/host_copy"},
                                         wrong_value{"/machine/streams", "0", "/machine/streams"},
                                         wrong_value{"/steps/0/until", "\"nobody\"", "/steps/0/until"},
                                         wrong_value{"/steps/1/until", "\"later\"", "/steps/1/until"},
                                         wrong_value{"/steps/3/after", "\"fourth\"", "/steps/3/after"},
                                         wrong_value{"/steps/3/at_s", "1", "/steps/3/after"},
                                         wrong_value{"/steps/1/use_s", "-1", "/steps/1/use_s"},
                                         wrong_value{"/steps/1/use_s", "1e300", "/steps/1/use_s"}),
                         [](const auto& param) { return "number_" + std::to_string(param.index); });

TEST(scenario, a_step_for_a_device_needs_one) {
  auto document = small_scenario();
  document["machine"].erase("device_capacity");
  document["machine"].erase("link");
  const auto read = parse(document);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().where, "/steps/1/hold");
}

TEST(scenario, a_name_that_two_steps_have_says_nothing) {
  auto document = small_scenario();
  document["steps"][2].erase("name");
  document["steps"][3]["after"] = "a";
  const auto read = parse(document);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().where, "/steps/3/after");
}

TEST(scenario, text_that_is_no_json_is_refused_with_its_place) {
  const auto read = parse_scenario("{\"machine\": }", "s.json");
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, errc::bad_config);
  EXPECT_EQ(read.error().offset_bytes, 12U);
}

TEST(size_from_text, knows_decimal_and_binary_units) {
  EXPECT_EQ(size_from_text("16 GiB"), uint64_t{16} << 30);
  EXPECT_EQ(size_from_text("16GiB"), uint64_t{16} << 30);
  EXPECT_EQ(size_from_text("1.5 GB"), 1'500'000'000U);
  EXPECT_EQ(size_from_text("4096 B"), 4096U);
  EXPECT_EQ(size_from_text("0 kB"), 0U);
  for (const auto* text : {"", "GiB", "16", "16 Gb", "16 GiB ", " 16 GiB", "1.2.3 GB", "-1 GB", "1e3 GB", "9999999 TB"})
    EXPECT_FALSE(size_from_text(text)) << text;
}

}  // namespace
}  // namespace longshore
