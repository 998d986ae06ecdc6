#include "tests/torch/torch_streams.hpp"

#include <chrono>
#include <utility>

#include <gtest/gtest.h>

#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace longshore {
namespace {

using namespace std::chrono_literals;

/// What a build of torch for some device brings along.
struct device_guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return c10::DeviceType::PrivateUse1; }
  c10::Device exchangeDevice(c10::Device device) const override { return device; }
  c10::Device getDevice() const override { return {type(), 0}; }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device device) const override {
    return c10::Stream{c10::Stream::UNSAFE, device, torch_streams::current};
  }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  c10::DeviceIndex deviceCount() const noexcept override { return 2; }

  void record(void** event, const c10::Stream& stream, const c10::DeviceIndex, const c10::EventFlag) const override {
    *event = &torch_streams::all();
    torch_streams::all().mark(stream.id());
  }
  void synchronizeEvent(void* event) const override { static_cast<torch_streams*>(event)->wait(); }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, device_guard)

}  // namespace

torch_streams& torch_streams::all() {
  static torch_streams streams;
  return streams;
}

void torch_streams::mark(int64_t stream) {
  const std::lock_guard guard{mutex_};
  marked_.push_back(stream);
  is_over_ = false;
}

void torch_streams::finish() {
  const std::lock_guard guard{mutex_};
  is_over_ = true;
  changed_.notify_all();
}

void torch_streams::wait() {
  std::unique_lock guard{mutex_};
  ++waits_;
  EXPECT_TRUE(changed_.wait_for(guard, 30s, [this] { return is_over_ || finish_at_waits_; }));
}

void torch_streams::finish_at_waits(bool finish) {
  const std::lock_guard guard{mutex_};
  finish_at_waits_ = finish;
}

int torch_streams::take_waits() {
  const std::lock_guard guard{mutex_};
  return std::exchange(waits_, 0);
}

std::vector<int64_t> torch_streams::take_marked() {
  const std::lock_guard guard{mutex_};
  return std::exchange(marked_, {});
}

}  // namespace longshore
