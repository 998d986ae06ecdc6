// The scenarios that come with the program, against arithmetic done here from their JSON.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <sstream>
#include <stdexcept>

#include "app/cli/usage.hpp"
#include "app/simulate/simulation.hpp"
#include "app/simulate/simulation_report.hpp"
#include "app/simulate/simulation_trace.hpp"
#include "app/simulate/timeline.hpp"
#include "tests/app/model_reader.hpp"
#include "tests/io/decoded_trace.hpp"

namespace longshore {
namespace {

/// One that comes with the program.
json shipped(const std::string& name) {
  return json::parse(read_all(std::string(LONGSHORE_SOURCE_DIR) + "/app/scenarios/" + name + ".json"));
}

/// A scenario replayed, and held against its limits.
class replayed {
public:
  explicit replayed(const json& scenario_document) : document(scenario_document) {
    const auto parsed = parse_scenario(document.dump(), "s.json");
    EXPECT_TRUE(parsed) << to_text(parsed.error());
    what = *parsed;
    auto done = simulate_in_own_folder();
    EXPECT_TRUE(done) << to_text(done.error());
    result = std::move(*done);
    expect_within_limits();
  }

  std::string picture() const { return timeline_text(what, result) + totals_text(what, result); }

  double gb_per_s(const char* of) const { return document["machine"][of]["gb_per_s"].get<double>(); }

  uint64_t model_bytes(const std::string& name) const {
    uint64_t sum = 0;
    for (const auto& model : document["models"])
      if (model["name"] == name)
        for (const auto& group : model["tensors"])
          sum += group.value("count", uint64_t{1}) * scaled(bytes_of(group["bytes"]), model.value("scale", 1.0));
    return sum;
  }

  /// Seconds that a step waited for its model.
  double load_seconds(size_t step) const {
    const auto& load = result.steps.at(step).load;
    return std::chrono::duration<double>(load.end - load.begin).count();
  }

  const model_history& history(const std::string& model) const {
    for (const auto& one : result.histories)
      if (what.models[one.model].name == model)
        return one;
    throw std::out_of_range(model);
  }

  json document;
  scenario what;
  simulation_result result;

private:
  expected<simulation_result> simulate_in_own_folder() const {
    const scratch folder;
    const auto* before = std::getenv("TMPDIR");
    const auto restored = before == nullptr ? std::string() : std::string(before);
    ::setenv("TMPDIR", (folder / "").c_str(), 1);
    auto done = simulate(what);
    EXPECT_TRUE(fs::is_empty(folder / "")) << "files of models are left";
    if (restored.empty())
      ::unsetenv("TMPDIR");
    else
      ::setenv("TMPDIR", restored.c_str(), 1);
    return done;
  }

  static uint64_t scaled(double bytes, double scale) { return static_cast<uint64_t>(std::llround(bytes * scale)); }

  static double bytes_of(const json& size) {
    static const std::map<std::string, double> units{{"kB", 1e3}, {"MB", 1e6}, {"KiB", 1024.0}};
    if (size.is_number())
      return size.get<double>();
    const auto text = size.get<std::string>();
    return std::stod(text) * units.at(text.substr(text.find(' ') + 1));
  }

  void expect_within_limits() const {
    const auto& machine = what.machine;
    for (const auto& [at, memory] : result.memory) {
      EXPECT_LE(memory.host_bytes, machine.host_limit_bytes);
      EXPECT_LE(memory.staging_bytes, machine.staging_bytes);
      EXPECT_LE(memory.pinned_bytes, machine.pin_budget_bytes);
      EXPECT_LE(memory.device_bytes, machine.device_capacity_bytes);
    }
    EXPECT_LE(result.peak.host_bytes, machine.host_limit_bytes);
    EXPECT_LE(result.peak.device_bytes, machine.device_capacity_bytes);
  }
};

class scenarios : public testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(all, scenarios,
                         testing::Values("model-larger-than-memory", "three-quantisations", "tiny-beside-giant",
                                         "loras-beside-model"),
                         [](const auto& param) {
                           std::string name = param.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST_P(scenarios, give_the_same_each_time) {
  const replayed first{shipped(GetParam())}, second{shipped(GetParam())};
  EXPECT_EQ(first.picture(), second.picture());
  EXPECT_EQ(simulation_json(first.what, first.result), simulation_json(second.what, second.result));
}

/// Overheads are a latency for each copy, and page-locking the slots while the first of them are already in use.
TEST_P(scenarios, come_near_what_is_possible) {
  const replayed run{shipped(GetParam())};
  EXPECT_EQ(run.result.refusals, 0U) << run.picture();
  EXPECT_GE(run.result.loading_seconds, run.result.bound.seconds());
  EXPECT_LE(run.result.loading_seconds, 1.05 * run.result.bound.seconds()) << run.picture();
}

/// Slots are real memory, and so are the tables; the sanitizers add to that what they keep of both.
TEST_P(scenarios, move_no_real_bytes) {
  const replayed run{shipped(GetParam())};
  EXPECT_LT(peak_rss_bytes(), run.result.read_bytes / 10);
}

TEST_P(scenarios, fit_a_terminal) {
  const replayed run{shipped(GetParam())};
  std::istringstream lines{timeline_text(run.what, run.result, 100)};
  for (std::string line; std::getline(lines, line);)
    EXPECT_LE(line.size(), 100U) << line;
}

TEST(model_larger_than_memory, is_staged_through_slots_at_the_rate_of_the_disk) {
  const replayed run{shipped("model-larger-than-memory")};
  const auto bytes = run.model_bytes("text encoder") + run.model_bytes("flux2 fp8") + run.model_bytes("vae");
  EXPECT_EQ(run.result.uploaded_bytes, bytes);
  EXPECT_GT(run.model_bytes("flux2 fp8"), 2 * run.what.machine.host_limit_bytes);
  EXPECT_NEAR(run.result.bound.seconds(), static_cast<double>(bytes) / 1e9 / run.gb_per_s("disk"), 1e-6);
  EXPECT_LE(run.result.peak.host_bytes, run.what.machine.staging_bytes) << "only slots took host memory";
  EXPECT_EQ(run.result.evictions, 1U);
  EXPECT_EQ(run.history("text encoder").evictions.size(), 1U);
}

TEST(three_quantisations, in_turn_evict_what_does_not_fit_beside_the_next) {
  const replayed run{shipped("three-quantisations")};
  const auto bytes = run.model_bytes("bf16") + run.model_bytes("fp8") + run.model_bytes("q4");
  EXPECT_EQ(run.result.uploaded_bytes, bytes) << "and nothing twice";
  EXPECT_NEAR(run.result.bound.disk_seconds, static_cast<double>(bytes) / 1e9 / run.gb_per_s("disk"), 1e-6);
  EXPECT_EQ(run.result.evictions, 1U);
  EXPECT_EQ(run.history("bf16").evictions.size(), 1U);
  EXPECT_TRUE(run.result.steps.at(3).hit);
  EXPECT_EQ(run.load_seconds(3), 0);
}

TEST(tiny_beside_giant, keeps_the_link_busy) {
  const replayed run{shipped("tiny-beside-giant")};
  const auto bytes = run.model_bytes("mixed");
  EXPECT_EQ(run.result.uploaded_bytes, bytes);
  EXPECT_NEAR(run.result.bound.seconds(), static_cast<double>(bytes) / 1e9 / run.gb_per_s("link"), 1e-6);
  EXPECT_GE(run.result.link_busy_share, 0.95) << run.picture();
  const auto chunks = bytes / (8U << 20) + 1;
  EXPECT_LE(run.result.uploads.size(), chunks + 200) << "tiny tensors are not copied one by one";
}

TEST(loras_beside_model, stay_page_locked_while_larger_models_come_and_go) {
  const replayed run{shipped("loras-beside-model")};
  for (int i = 1; i <= 8; ++i)
    EXPECT_TRUE(run.history("lora " + std::to_string(i)).evictions.empty()) << i;
  EXPECT_EQ(run.history("text encoder").evictions.size(), 1U);
  EXPECT_EQ(run.result.evictions, 1U);
  EXPECT_TRUE(run.result.steps.back().hit);
  EXPECT_GE(run.result.memory.back().memory.pinned_bytes, 8 * run.model_bytes("lora 1"));
  const auto host_bytes = 8 * run.model_bytes("lora 1") + run.model_bytes("text encoder") + run.model_bytes("upscaler");
  EXPECT_GT(host_bytes, run.what.machine.host_limit_bytes) << "or nothing would have to go";
  EXPECT_EQ(run.result.uploaded_bytes, run.model_bytes("model"));
  const auto read_bytes = host_bytes + run.model_bytes("model");
  EXPECT_NEAR(run.result.bound.seconds(), static_cast<double>(read_bytes) / 1e9 / run.gb_per_s("disk"), 1e-6);
}

json one_model(uint64_t bytes, const std::string& hold) {
  return {{"machine",
           {{"host_limit", "1 GB"},
            {"disk", {{"gb_per_s", 1}}},
            {"device_capacity", "10 GB"},
            {"link", {{"gb_per_s", 10}, {"unpinned_gb_per_s", 0.5}}}}},
          {"models", {{{"name", "m"}, {"tensors", {{{"bytes", bytes}}}}}}},
          {"steps", {{{"load", "m"}, {"hold", hold}}}}};
}

TEST(simulation, a_model_that_never_fits_is_refused_with_the_reason) {
  const replayed run{one_model(2'000'000'000, "owned")};
  EXPECT_EQ(run.result.refusals, 1U);
  const auto& reason = run.result.steps.at(0).reason;
  EXPECT_EQ(reason.code, errc::out_of_budget);
  EXPECT_EQ(reason.path, "m.safetensors") << "without the temporary folder";
  EXPECT_EQ(run.result.read_bytes, 0U);
  EXPECT_NE(run.picture().find('!'), std::string::npos);
}

TEST(simulation, a_mapped_model_is_read_and_takes_none_of_the_memory) {
  const replayed run{one_model(2'000'000'000, "mapped")};
  EXPECT_EQ(run.result.refusals, 0U);
  EXPECT_EQ(run.result.peak.host_bytes, 0U);
  EXPECT_NEAR(run.load_seconds(0), 2, 0.01);
}

TEST(simulation, without_a_pin_budget_copies_go_at_the_lower_rate) {
  auto document = one_model(2'000'000'000, "device");
  const replayed pinned{document};
  document["machine"]["pin_budget"] = 0;
  const replayed pageable{document};
  EXPECT_EQ(pageable.result.peak.pinned_bytes, 0U);
  EXPECT_NEAR(pinned.load_seconds(0), 2, 0.1) << "the disk decides";
  EXPECT_NEAR(pageable.load_seconds(0), 4, 0.1) << "the link decides";
}

TEST(simulation, page_locking_takes_time) {
  auto document = one_model(8'000'000, "device");
  const replayed free{document};
  document["machine"]["register_gb_per_s"] = 0.08388608;  // a slot of 8 MiB takes 100 ms
  const replayed slow{document};
  EXPECT_NEAR(slow.load_seconds(0) - free.load_seconds(0), 0.1, 0.001);
}

TEST(simulation, a_load_waits_for_memory_that_is_in_use_and_is_refused_in_the_end) {
  auto document = one_model(700'000'000, "owned");
  document["models"].push_back({{"name", "n"}, {"tensors", {{{"bytes", 500'000'000}}}}});
  document["machine"]["memory_wait_s"] = 3;
  document["steps"] = {{{"load", "m"}, {"use_s", 2}}, {{"load", "n"}, {"at_s", 1}}};
  const replayed patient{document};
  EXPECT_EQ(patient.result.refusals, 0U);
  EXPECT_NEAR(patient.load_seconds(1), 2.7 - 1 + 0.5, 0.01) << "until the first was given back";
  document["steps"][0]["use_s"] = 20;
  const replayed refused{document};
  EXPECT_EQ(refused.result.refusals, 1U);
  EXPECT_NEAR(refused.load_seconds(1), 3, 0.01);
}

TEST(simulation, a_lease_lasts_until_the_step_it_names) {
  auto document = one_model(100'000'000, "owned");
  document["steps"] = {{{"load", "m"}, {"until", "last"}},
                       {{"load", "m"}, {"name", "between"}, {"use_s", 1}},
                       {{"load", "m"}, {"name", "last"}, {"use_s", 1}}};
  const replayed run{document};
  EXPECT_EQ(run.result.steps[0].lease_end, run.result.steps[2].lease_end);
  EXPECT_LT(run.result.steps[1].lease_end, run.result.steps[2].lease_end);
}

TEST(simulation, one_model_in_both_kinds_of_memory_has_two_histories) {
  auto document = one_model(100'000'000, "owned");
  document["steps"].push_back({{"load", "m"}, {"hold", "device"}, {"at_s", 0}});
  const replayed run{document};
  EXPECT_EQ(run.result.histories.size(), 2U);
  EXPECT_EQ(run.result.uploaded_bytes, 100'000'000U);
  EXPECT_NEAR(run.result.bound.disk_seconds, 0.1, 1e-9) << "at best it is read once";
}

TEST(simulation, a_host_copy_spares_the_disk_the_second_time) {
  auto document = one_model(500'000'000, "device");
  document["machine"]["device_capacity"] = "800 MB";
  document["models"].push_back({{"name", "other"}, {"tensors", {{{"bytes", 500'000'000}}}}});
  document["steps"] = {{{"load", "m"}, {"hold", "device"}, {"host_copy", true}},
                       {{"load", "other"}, {"hold", "device"}},
                       {{"load", "m"}, {"name", "again"}, {"hold", "device"}, {"host_copy", true}}};
  const replayed run{document};
  EXPECT_EQ(run.result.refusals, 0U) << run.picture();
  EXPECT_EQ(run.result.evictions, 2U) << "there is room for one on the device";
  EXPECT_NEAR(run.load_seconds(0), 0.5, 0.05) << "the disk decides";
  EXPECT_NEAR(run.load_seconds(2), 0.05, 0.01) << "the link decides";
  EXPECT_LT(run.result.read_bytes, 1'001'000'000U);
  EXPECT_EQ(run.result.uploaded_bytes, 1'500'000'000U);
}

TEST(simulation, a_copy_that_may_not_be_page_locked_goes_through_slots) {
  auto document = one_model(400'000'000, "device");
  document["machine"]["pin_budget"] = "128 MiB";
  document["machine"]["copy_gb_per_s"] = 2;
  document["steps"] = {{{"load", "m"}}, {{"load", "m"}, {"name", "up"}, {"hold", "device"}}};
  const replayed run{document};
  EXPECT_EQ(run.result.refusals, 0U) << run.picture();
  EXPECT_LT(run.result.read_bytes, 401'000'000U) << "the device's bytes come from host memory";
  EXPECT_NEAR(run.load_seconds(1), 0.2, 0.02) << "the copies to slots decide";
}

TEST(simulation, streams_of_a_device_work_beside_each_other) {
  auto document = one_model(500'000'000, "device");
  document["models"].push_back({{"name", "other"}, {"tensors", {{{"bytes", 500'000'000}}}}});
  document["steps"] = {{{"load", "m"}, {"hold", "device"}, {"at_s", 0}},
                       {{"load", "other"}, {"hold", "device"}, {"at_s", 0}}};
  document["machine"]["streams"] = 2;
  const replayed run{document};
  EXPECT_EQ(run.result.uploaded_bytes, 1'000'000'000U);
  EXPECT_NEAR(run.load_seconds(0), 1, 0.05);
  EXPECT_NEAR(run.load_seconds(1), 1, 0.05) << "the disk serves both in turn";
}

TEST(simulation, ends_when_told) {
  const auto parsed = parse_scenario(one_model(2'000'000'000, "device").dump(), "s.json");
  int steps = 0;
  const auto done = simulate(*parsed, [&] { return ++steps == 200; });
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, errc::cancelled);
}

TEST(simulation, writes_a_trace_in_virtual_time) {
  const replayed run{one_model(100'000'000, "device")};
  const scratch folder;
  const auto written = write_simulation_trace(run.what, run.result, folder / "trace");
  ASSERT_TRUE(written) << to_text(written.error());
  const perfetto::decoded_trace trace{read_all(folder / "trace")};
  uint64_t copied_bytes = 0;
  for (const auto& event : trace.named("copy"))
    if (event.type == perfetto::event_type::slice_begin)
      copied_bytes += event.numbers.at("bytes");
  EXPECT_EQ(copied_bytes, 100'000'000U);
  EXPECT_FALSE(trace.named("read").empty());
  EXPECT_FALSE(trace.named("reading").empty());
}

TEST(timeline, draws_what_happened_when) {
  auto document = one_model(1'000'000'000 - 300'000'000, "owned");
  document["steps"][0]["use_s"] = 0.7;
  const replayed run{document};
  const auto text = timeline_text(run.what, run.result, 100);
  const auto line = text.substr(text.find("m owned"));
  EXPECT_NE(line.find("=========="), std::string::npos) << text;
  EXPECT_NE(line.find("##########"), std::string::npos) << text;
  EXPECT_LT(line.find("="), line.find("#"));
}

}  // namespace
}  // namespace longshore
