#pragma once
/// Loads to a host device in a real runtime, and the check that the device holds exactly the file's bytes.
///
/// Owns the files. One thread. Fails by failing expectations.

#include <algorithm>
#include <memory>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "actors/runtime.hpp"
#include "gpu/host_device.hpp"
#include "tests/actors/model_files.hpp"

namespace longshore {

inline constexpr uint64_t mebibyte = 1 << 20;

inline runtime_options with(std::shared_ptr<device> target) {
  return {.host_limit_bytes = 64 * mebibyte,
          .warm_bytes = 0,
          .holder = {.chunk_bytes = mebibyte},
          .target = std::move(target),
          .staging_bytes = 8 * mebibyte,
          .device_is_shared = false};
}

inline std::unique_ptr<runtime> started(const runtime_options& options) {
  auto made = runtime::start(options);
  EXPECT_TRUE(made.has_value()) << to_text(made.error());
  return std::move(*made);
}

class device_loads : public testing::Test {
protected:
  /// A new file of these bytes, cold, for the device.
  get_model request(const std::string& name, size_t bytes, uint64_t seed) {
    const auto path = files.write(name, bytes, seed);
    make_cold(path);
    return files.request(name, {path}, hold_choice::device);
  }

  /// The same, by way of a host copy.
  get_model request_with_copy(const std::string& name, size_t bytes, uint64_t seed) {
    auto wanted = request(name, bytes, seed);
    for (auto& file : wanted.source.files)
      file.host_copy = true;
    return wanted;
  }

  void expect_right_bytes(const model_answer& answer) {
    ASSERT_EQ(answer.lease->model().device_files.size(), 1U);
    EXPECT_TRUE(answer.lease->model().files.empty());
    const auto& file = *answer.lease->model().device_files.front();
    const auto& content = files.content(file.path());
    size_t at = content.size();
    for (size_t i = file.tensors().size(); i-- > 0;) {
      const auto bytes = read_back(file, i);
      ASSERT_TRUE(bytes.has_value()) << to_text(bytes.error());
      at -= bytes->size();
      EXPECT_TRUE(std::equal(bytes->begin(), bytes->end(), content.begin() + static_cast<std::ptrdiff_t>(at)));
    }
  }

  /// Loads, again and again, while another thread cancels everything.
  template <class Request>
  void expect_nothing_left_by_cancelling(runtime_options (*options_for)(std::shared_ptr<device>),
                                         const Request& make_request) {
    for (int round = 0; round < 20; ++round) {
      const auto target = std::make_shared<host_device>(host_device_options{.check_sources = true});
      const get_model wanted = make_request();
      auto loader = started(options_for(target));
      std::thread canceller{[&] { loader->cancel_all(); }};
      {
        const auto answer = loader->load(wanted);
        canceller.join();
        if (answer)
          expect_right_bytes(*answer);
        else
          EXPECT_EQ(answer.error().code, errc::stopped);
      }
      EXPECT_TRUE(loader->stop().has_value());
      loader.reset();
      EXPECT_EQ(target->counts().registered.now, 0U);
      EXPECT_EQ(target->counts().allocated.now, 0U);
      EXPECT_EQ(target->counts().changed_sources, 0U);
    }
  }

  model_files files;
};

}  // namespace longshore
