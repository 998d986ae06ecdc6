// A host device that fails on demand: at the call, or later to the completions, at any point of a piece of work.
#include <gtest/gtest.h>

#include "gpu/host_device.hpp"
#include "tests/gpu/device_tools.hpp"

using namespace longshore;

namespace {

constexpr auto page = page_block::page_bytes;

const error broken{.code = errc::io_failed, .what = {}, .path = {}, .offset_bytes = {}, .where = {}, .os_error = 5};

/// Fails the calls of a kind from one number on, `count` of them.
device_script failing(device_operation kind, uint64_t from, uint64_t count = 1) {
  return [=](const device_call& call) -> std::optional<error> {
    if (call.kind == kind && call.number >= from && call.number - from < count)
      return broken;
    return {};
  };
}

TEST(host_device_fault, the_script_sees_what_is_asked_and_counts_each_kind) {
  std::vector<device_call> seen;
  const page_block host{4096};
  host_device device{{.script = [&](const device_call& call) -> std::optional<error> {
    seen.push_back(call);
    return {};
  }}};
  ASSERT_TRUE(device.allocate(100));
  ASSERT_TRUE(device.register_host(host.data(), 4096));
  ASSERT_TRUE(device.allocate(200));
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(seen[1].host, host.data());
  EXPECT_EQ(seen[1].bytes, 4096u);
  EXPECT_EQ(seen[1].number, 0u);
  EXPECT_EQ(seen[2].kind, device_operation::allocate);
  EXPECT_EQ(seen[2].number, 1u);
  EXPECT_EQ(seen[2].bytes, 200u);
}

TEST(host_device_fault, a_call_that_fails_has_changed_nothing) {
  const page_block host{4096};
  {
    host_device device{{.script = failing(device_operation::allocate, 0)}};
    EXPECT_EQ(device.allocate(100), expected<device_address>{unexpected(broken)});
    EXPECT_EQ(device.counts().allocated.most, 0u);
    EXPECT_TRUE(device.allocate(100));
  }
  {
    host_device device{{.script = failing(device_operation::register_host, 0)}};
    EXPECT_FALSE(device.register_host(host.data(), 4096));
    EXPECT_EQ(device.counts().registered.most, 0u);
    EXPECT_TRUE(device.register_host(host.data(), 4096));
  }
  {
    host_device device{{.script = failing(device_operation::unregister_host, 0)}};
    ASSERT_TRUE(device.register_host(host.data(), 4096));
    EXPECT_FALSE(device.unregister_host(host.data()));
    EXPECT_EQ(device.counts().registered.now, 4096u);
    EXPECT_TRUE(device.unregister_host(host.data()));
  }
  host_device device{{.script = failing(device_operation::make_stream, 0)}};
  EXPECT_FALSE(device.make_stream());
  EXPECT_TRUE(device.make_stream());
}

/// Queues a copy there, a checksum, a copy back, and the marks between; false where a call says that it failed.
bool queue_all(host_device& device, stream_id stream, device_address address, const page_block& host, uint64_t* sum) {
  if (!device.copy_to_device(stream, host.data(), address, 4096) || !device.checksum(stream, address, 4096, sum))
    return false;
  const auto event = device.record_event(stream);
  return event && device.wait_event(stream, *event) && device.copy_to_host(stream, address, host.data(), 4096);
}

TEST(host_device_fault, each_failing_point_is_told_once_at_the_call_or_to_the_completion) {
  const page_block host{4096};
  struct point {
    device_operation kind;
    uint64_t number;
    bool at_call;
  };
  using enum device_operation;
  for (const auto& p : {point{queue_copy, 0, true}, point{queue_copy, 1, true}, point{queue_kernel, 0, true},
                        point{queue_mark, 0, true}, point{queue_mark, 1, true}, point{run_copy, 0, false},
                        point{run_copy, 1, false}, point{run_kernel, 0, false}}) {
    uint64_t sum = 0;
    host_device device{{.script = failing(p.kind, p.number)}};
    const auto stream = device.make_stream().value();
    const auto address = device.allocate(4096).value();
    EXPECT_EQ(queue_all(device, stream, address, host, &sum), !p.at_call);
    const auto result = finish(device, stream);
    EXPECT_EQ(result.has_value(), p.at_call) << static_cast<int>(p.kind) << " " << p.number;
    if (!result) {
      EXPECT_EQ(result.error(), broken);
    }
    EXPECT_TRUE(queue_all(device, stream, address, host, &sum));
    EXPECT_TRUE(finish(device, stream)) << "told once, and the stream goes on";
  }
}

TEST(host_device_fault, a_completion_hears_the_first_failure_since_the_one_before) {
  const page_block host{4096};
  host_device device{{.script = [](const device_call& call) -> std::optional<error> {
    if (call.kind != device_operation::run_copy || call.number == 0)
      return {};
    return error{.code = errc::io_failed, .what = std::to_string(call.number)};
  }}};
  const auto stream = device.make_stream().value(), other = device.make_stream().value();
  const auto address = device.allocate(4096).value();
  const auto copy = [&] { ASSERT_TRUE(device.copy_to_device(stream, host.data(), address, 4096)); };
  copy();
  EXPECT_TRUE(finish(device, stream));
  copy();
  copy();
  EXPECT_EQ(finish(device, stream).error().what, "1");
  EXPECT_TRUE(finish(device, stream));
  copy();
  EXPECT_TRUE(finish(device, other)) << "the failure is the other stream's";
  EXPECT_EQ(finish(device, stream).error().what, "3");
  EXPECT_EQ(device.counts().copies, 1u);
}

TEST(host_device_fault, work_queued_by_a_failing_stream_keeps_nothing_registered) {
  const page_block host{4096};
  host_device device{{.script = failing(device_operation::run_copy, 0, 100)}};
  const auto stream = device.make_stream().value();
  const auto address = device.allocate(4096).value();
  ASSERT_TRUE(device.register_host(host.data(), 4096));
  ASSERT_TRUE(device.copy_to_device(stream, host.data(), address, 4096));
  EXPECT_FALSE(finish(device, stream));
  EXPECT_TRUE(device.unregister_host(host.data()));
}

TEST(host_device_fault, a_script_can_refuse_by_size) {
  const page_block host{4 * page};
  host_device device{{.script = [](const device_call& call) -> std::optional<error> {
    if (call.kind == device_operation::register_host && call.bytes > 4096)
      return broken;
    return {};
  }}};
  EXPECT_FALSE(device.register_host(host.data(), 2 * page));
  EXPECT_TRUE(device.register_host(host.data(), 4096));
}

}  // namespace
