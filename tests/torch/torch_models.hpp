#pragma once
/// Models on disk and in a runtime, for tests that look at them as tensors.
///
/// Owns a folder. Thread rule: one test's thread. Fails by failing expectations.

#include <chrono>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "actors/runtime.hpp"
#include "app/torch/tensors.hpp"
#include "tests/torch/typed_model.hpp"

namespace longshore {

using model_lease_ptr = std::shared_ptr<const model_lease>;

/// Memory that nobody holds is unmapped at once: whoever still reads it does not get away with it.
inline std::unique_ptr<runtime> started(std::shared_ptr<device> target = nullptr) {
  constexpr uint64_t mebibyte = 1 << 20;
  auto made = runtime::start({.host_limit_bytes = 256 * mebibyte,
                              .warm_bytes = 0,
                              .holder = {.chunk_bytes = mebibyte},
                              .target = std::move(target),
                              .staging_bytes = 8 * mebibyte});
  EXPECT_TRUE(made.has_value()) << to_text(made.error());
  return std::move(*made);
}

class torch_models {
public:
  std::string write(const std::string& name, const std::vector<typed_tensor>& tensors) const {
    write_file(folder_ / name, typed_model(tensors));
    return folder_ / name;
  }

  /// Under the name of the first file.
  static model_lease_ptr load(runtime& loader, const std::vector<std::string>& paths,
                              hold_choice hold = hold_choice::owned, const std::string& cast_to = {}) {
    const auto source = find_source(paths, {.hold = hold, .cast_to = cast_to});
    EXPECT_TRUE(source.has_value()) << to_text(source.error());
    auto answer = loader.load({.key = paths.front(), .kind = model_kind::ckpt, .source = *source});
    EXPECT_TRUE(answer.has_value()) << to_text(answer.error());
    return std::move(answer->lease);
  }

private:
  test_folder folder_;
};

/// The ways to hold a model, for tests that shall pass in each.
inline constexpr hold_choice hold_choices[] = {hold_choice::owned, hold_choice::pinned, hold_choice::mapped,
                                               hold_choice::device};

inline std::string hold_name(const testing::TestParamInfo<hold_choice>& info) {
  constexpr const char* names[] = {"owned", "pinned", "mapped", "device"};
  return names[info.index];
}

inline byte_vector as_bytes(const std::vector<float>& numbers) {
  const auto bytes = std::as_bytes(std::span{numbers});
  return {bytes.begin(), bytes.end()};
}

/// Each one more than the one before.
inline std::vector<float> some_numbers(size_t count, float first) {
  std::vector<float> numbers(count);
  std::iota(numbers.begin(), numbers.end(), first);
  return numbers;
}

/// How many leases the runtime's only model has.
inline size_t leases_of(runtime& loader) { return loader.list()->entries.at(0).leases; }

/// Asks again and again, as the answer comes from another thread; bounded.
template <class Condition>
bool comes_true(const Condition& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{30};
  while (!condition())
    if (std::chrono::steady_clock::now() > deadline)
      return false;
    else
      std::this_thread::yield();
  return true;
}

}  // namespace longshore
