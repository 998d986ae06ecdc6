// Casts in host memory with real threads, real files and both engines. What ThreadSanitizer shall see runs here.
#include <thread>

#include "actors/runtime.hpp"
#include "gpu/host_device.hpp"
#include "tests/actors/model_files.hpp"

namespace longshore {
namespace {

constexpr uint64_t mebibyte = 1 << 20;

class casting_runtime : public testing::TestWithParam<engine_kind> {
protected:
  static runtime_options options() {
    runtime_options made;
    made.engine.kind = GetParam();
    made.host_limit_bytes = 256 * mebibyte;
    made.warm_bytes = 0;
    made.holder.chunk_bytes = mebibyte;
    return made;
  }

  static std::unique_ptr<runtime> started(runtime_options with) {
    auto made = runtime::start(std::move(with));
    EXPECT_TRUE(made.has_value()) << to_text(made.error());
    return std::move(*made);
  }

  std::string write(const std::string& name, size_t elements, uint64_t seed) {
    return files.write(name, {{"bytes", 1}, {"half", elements * 2, "F16", 2}, {"brain", 77'778, "BF16", 2}}, seed);
  }

  void expect_right_bytes(const expected<model_answer>& answer) {
    ASSERT_TRUE(answer.has_value()) << to_text(answer.error());
    EXPECT_TRUE(files.holds_right_bytes(*answer));
  }

  model_files files;
};

INSTANTIATE_TEST_SUITE_P(engines, casting_runtime, testing::Values(engine_kind::io_uring, engine_kind::threads),
                         [](const auto& param) { return std::string{name(param.param)}; });

TEST_P(casting_runtime, casts_hot_and_cold_files_in_every_hold) {
  const auto path = write("m", 3'000'001, 1);
  for (const bool cold : {false, true})
    for (const auto hold : {hold_choice::automatic, hold_choice::owned, hold_choice::pinned})
      for (const auto* to : {"F32", "F8_E4M3"}) {
        SCOPED_TRACE(std::string{to} + (cold ? " cold" : " hot"));
        if (cold)
          make_cold(path);
        auto loader = started(options());
        const auto answer = loader->load(files.request("m", {path}, hold, to));
        expect_right_bytes(answer);
        const auto& report = answer->lease->model().reports.at(0);
        EXPECT_GT(cold ? report.direct_bytes : report.buffered_bytes, 5 * mebibyte);
        EXPECT_TRUE(loader->load(files.request("m", {path}, hold, to))->hit);
      }
}

TEST_P(casting_runtime, casts_many_at_once) {
  std::vector<get_model> requests;
  for (uint64_t i = 0; i < 6; ++i) {
    const auto path = write("m" + std::to_string(i), 700'000 + i, i);
    if (i % 2 == 0)
      make_cold(path);
    for (const auto* to : {"F32", "BF16"})
      requests.push_back(files.request(std::to_string(i) + to, {path}, hold_choice::automatic, to));
  }
  auto loader = started(options());
  std::vector<std::thread> threads;
  for (const auto& wanted : requests)
    for (int twice = 0; twice < 2; ++twice)
      threads.emplace_back([&] { expect_right_bytes(loader->load(wanted)); });
  for (auto& thread : threads)
    thread.join();
  EXPECT_TRUE(loader->stop().has_value());
}

TEST_P(casting_runtime, page_locks_what_it_casts) {
  const auto target = std::make_shared<host_device>();
  auto with = options();
  with.target = target;
  with.holder.pin_segment_bytes = 4 * mebibyte;
  with.staging_bytes = 8 * mebibyte;
  auto loader = started(std::move(with));
  const auto path = write("m", 3'000'000, 2);
  {
    const auto answer = loader->load(files.request("m", {path}, hold_choice::pinned, "F32"));
    expect_right_bytes(answer);
    EXPECT_GE(answer->lease->model().reports.at(0).pinned_bytes, 12 * mebibyte);
  }
  EXPECT_TRUE(loader->stop().has_value());
  loader.reset();
  EXPECT_EQ(target->counts().registered.now, 0U);
}

TEST_P(casting_runtime, stays_under_its_limit_with_scratch_memory_and_without) {
  const auto path = write("m", 4'000'000, 3);  // 16 MiB as F32
  for (const uint64_t spare_bytes : {0, 2, 8}) {
    make_cold(path);
    auto with = options();
    with.host_limit_bytes = 16 * mebibyte + spare_bytes * mebibyte;
    auto loader = started(std::move(with));
    expect_right_bytes(loader->load(files.request("m", {path}, hold_choice::owned, "F32")));
    EXPECT_LE(loader->budget()->peak.host_bytes, 16 * mebibyte + spare_bytes * mebibyte);
  }
}

/// Loads, again and again, while another thread cancels everything.
TEST_P(casting_runtime, can_be_cancelled_at_any_time) {
  const auto path = write("m", 3'000'000, 4);
  for (int round = 0; round < 12; ++round) {
    if (round % 2 == 0)
      make_cold(path);
    auto loader = started(options());
    const auto wanted = files.request("m", {path}, hold_choice::automatic, "F32");
    std::thread canceller{[&] { loader->cancel_all(); }};
    {
      const auto answer = loader->load(wanted);
      canceller.join();
      if (answer) {
        EXPECT_TRUE(files.holds_right_bytes(*answer));
      } else {
        EXPECT_EQ(answer.error().code, errc::stopped);
      }
    }
    EXPECT_TRUE(loader->stop().has_value());
  }
}

TEST_P(casting_runtime, may_end_while_it_casts) {
  const auto path = write("m", 3'000'000, 5);
  for (int round = 0; round < 12; ++round) {
    if (round % 2 == 0)
      make_cold(path);
    auto loader = started(options());
    const auto begun =
        loader->begin(files.request("m", {path}, hold_choice::automatic, "F32"), [](const expected<model_answer>&) {});
    if (round % 3 == 0)
      begun.cancel();
  }
}

}  // namespace
}  // namespace longshore
