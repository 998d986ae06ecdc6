// Every call of CUDA that can fail made to fail once, at every point of a small upload; then every piece of queued
// work.
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gpu/checksum.hpp"
#include "gpu/cuda_device.hpp"
#include "tests/gpu/cuda_double.hpp"
#include "tests/gpu/device_tools.hpp"

using namespace longshore;
using testing::HasSubstr;
using testing::IsEmpty;

namespace {

constexpr uint64_t block_bytes = 1 << 15;
constexpr uint64_t pieces_count = 400;  // three batches

/// Calls whose failure nobody can be told of: they end something, and only repeat what earlier work was told.
const std::set<std::string> not_told{"free", "stream_destroy", "stream_synchronize", "event_destroy"};

/// What went wrong in the scenario, in order, and whether what arrived was right.
struct outcome {
  std::vector<error> failures;
  bool arrived = false;

  bool went_well(const expected<void>& result) {
    if (!result)
      failures.push_back(result.error());
    return result.has_value();
  }
  template <class T>
  std::optional<T> value_of(const expected<T>& result) {
    if (result)
      return *result;
    failures.push_back(result.error());
    return std::nullopt;
  }
};

std::vector<scatter_piece> pieces_to(device_address spread) {
  std::vector<scatter_piece> pieces;
  for (uint64_t i = 0; i < pieces_count; ++i)
    pieces.push_back({i * 64, spread + i * 256, 64});
  return pieces;
}

/// Whether a completion in the stream says that all is well.
void expect_over(device& on, stream_id stream, outcome& seen) { seen.went_well(finish(on, stream)); }

/// Copy, scatter, cast, checksum and back, on two streams with an event between them. Goes on after each failure with
/// all that still makes sense, as a runtime with other models to load would.
void move_bytes(device& on, page_block& block, stream_id upload, stream_id compute, outcome& seen) {
  const auto packed = seen.value_of(on.allocate(block_bytes));
  const auto spread = seen.value_of(on.allocate(pieces_count * 256));
  const auto wide = seen.value_of(on.allocate(2 * block_bytes));
  uint64_t sum = 0;
  bool whole = packed && spread && wide;
  if (whole) {
    whole &= seen.went_well(on.copy_to_device(upload, block.data(), *packed, block_bytes));
    whole &= seen.went_well(on.scatter(upload, *packed, pieces_to(*spread)));
    if (const auto event = seen.value_of(on.record_event(upload))) {
      whole &= seen.went_well(on.wait_event(compute, *event));
      seen.value_of(on.event_is_over(*event));
      on.destroy_event(*event);
    }
    whole &= seen.went_well(on.cast(compute, {*packed, dtype::F16, *wide, dtype::F32, block_bytes / 2}));
    whole &= seen.went_well(on.checksum(compute, *packed, block_bytes, &sum));
  }
  const auto told_before = seen.failures.size();
  expect_over(on, upload, seen);
  expect_over(on, compute, seen);
  seen.arrived = whole && seen.failures.size() == told_before && sum == checksum(block.bytes());
  for (const auto& address : {packed, spread, wide})
    on.free(address.value_or(0));
}

outcome run_scenario(cuda_double& cuda) {
  outcome seen;
  page_block block{block_bytes};
  auto made = make_cuda_device(cuda.table(), {.index = 0, .checksums_most = 4});
  if (!made) {
    seen.failures.push_back(made.error());
    return seen;
  }
  auto& on = **made;
  seen.value_of(on.memory());
  const bool registered = seen.went_well(on.register_host(block.data(), block_bytes));
  const auto upload = seen.value_of(on.make_stream());
  const auto compute = seen.value_of(on.make_stream());
  if (registered && upload && compute)
    move_bytes(on, block, *upload, *compute, seen);
  on.destroy_stream(upload.value_or(0));
  if (registered)
    seen.went_well(on.unregister_host(block.data()));
  made->reset();
  return seen;
}

void expect_all_given_back(const cuda_double& cuda) {
  EXPECT_EQ(cuda.alive(), (cuda_double::counts{0, 0, 0, 0}));
  EXPECT_THAT(cuda.complaints(), IsEmpty());
}

TEST(cuda_fault, without_a_fault_all_arrives) {
  cuda_double cuda;
  const auto seen = run_scenario(cuda);
  EXPECT_THAT(seen.failures, IsEmpty());
  EXPECT_TRUE(seen.arrived);
  expect_all_given_back(cuda);
  for (const auto& name : cuda_double::names())
    EXPECT_GT(cuda.calls_of(name), 0u) << name << " is not part of the scenario";
}

class cuda_fault_at : public testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(calls, cuda_fault_at, testing::ValuesIn(cuda_double::names()),
                         [](const auto& call) { return call.param; });

TEST_P(cuda_fault_at, each_failing_call_is_told_and_nothing_is_left_behind) {
  constexpr uint64_t calls_most = 1000;
  uint64_t number = 0;
  for (; number < calls_most; ++number) {
    SCOPED_TRACE(GetParam() + " " + std::to_string(number));
    cuda_double cuda;
    cuda.fail_call(GetParam(), number);
    const auto seen = run_scenario(cuda);
    expect_all_given_back(cuda);
    if (!cuda.has_failed()) {
      EXPECT_TRUE(seen.arrived);
      break;
    }
    if (seen.failures.empty()) {
      EXPECT_TRUE(not_told.contains(GetParam()) || seen.arrived) << "a failure that mattered was not told";
      continue;
    }
    EXPECT_EQ(seen.failures.front().code, GetParam() == "get_device_count" ? errc::unsupported : errc::io_failed);
    EXPECT_THAT(seen.failures.front().what, HasSubstr("999"));
  }
  EXPECT_GT(number, 0u);
  EXPECT_LT(number, calls_most);
}

/// Making a device current fails in calls that answer, and in some that cannot: only the latter may stay untold.
TEST(cuda_fault, a_device_that_cannot_be_used_is_told_wherever_a_call_can_answer) {
  uint64_t told_failures = 0, untold = 0;
  for (uint64_t number = 0;; ++number) {
    cuda_double cuda;
    cuda.fail_call("set_device", number);
    const auto seen = run_scenario(cuda);
    if (!cuda.has_failed())
      break;
    (seen.failures.empty() ? untold : told_failures) += 1;
  }
  EXPECT_EQ(untold, 4u) << "three frees, and the end of the device";
  EXPECT_GT(told_failures, 12u);
}

TEST(cuda_fault, each_failing_piece_of_work_is_told_to_a_completion_and_nothing_hangs) {
  uint64_t number = 0;
  for (;; ++number) {
    SCOPED_TRACE(number);
    cuda_double cuda;
    cuda.fail_work(number);
    const auto seen = run_scenario(cuda);
    expect_all_given_back(cuda);
    if (!cuda.has_failed())
      break;
    EXPECT_FALSE(seen.failures.empty());
    EXPECT_FALSE(seen.arrived);
  }
  EXPECT_GT(number, 10u);
}

TEST(cuda_fault, no_memory_is_a_matter_of_budget) {
  cuda_double cuda;
  auto made = make_cuda_device(cuda.table());
  ASSERT_TRUE(made);
  page_block block{4096};
  cuda.fail_call("host_register", 1, cuda_code::out_of_memory);
  const auto refused = (*made)->register_host(block.data(), 4096);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::out_of_budget);
  EXPECT_THAT(refused.error().what, HasSubstr("cuda:0 cannot page-lock 4096 bytes: out of memory"));
}

// Some of the scatter is on its way then, so the call must not claim that nothing is.
TEST(cuda_fault, a_later_batch_that_cannot_be_queued_is_told_to_the_completion) {
  cuda_double cuda;
  auto made = make_cuda_device(cuda.table());
  ASSERT_TRUE(made);
  auto& on = **made;
  const auto stream = *on.make_stream();
  const auto packed = *on.allocate(block_bytes), spread = *on.allocate(pieces_count * 256);
  cuda.fail_call("scatter", 1);
  EXPECT_TRUE(on.scatter(stream, packed, pieces_to(spread)));
  const auto over = finish(on, stream);
  ASSERT_FALSE(over);
  EXPECT_THAT(over.error().what, HasSubstr("cannot scatter 400 pieces"));
  EXPECT_TRUE(finish(on, stream)) << "told once";
  EXPECT_EQ(cuda.calls_of("scatter"), 2u) << "nothing behind the failed batch";
}

TEST(cuda_fault, a_checksum_that_cannot_come_back_is_told_and_leaves_its_result_alone) {
  cuda_double cuda;
  auto made = make_cuda_device(cuda.table(), {.index = 0, .checksums_most = 1});
  ASSERT_TRUE(made);
  auto& on = **made;
  const auto stream = *on.make_stream();
  const auto address = *on.allocate(block_bytes);
  uint64_t sum = 5;
  cuda.fail_call("memcpy_async", 0);
  EXPECT_TRUE(on.checksum(stream, address, 0, &sum));
  EXPECT_FALSE(finish(on, stream));
  EXPECT_EQ(sum, 5u);
  cuda.fail_call("checksum_words", 1);
  EXPECT_FALSE(on.checksum(stream, address, 0, &sum)) << "nothing is queued";
  EXPECT_TRUE(on.checksum(stream, address, 0, &sum)) << "and the one place is free again";
  EXPECT_TRUE(finish(on, stream));
  EXPECT_EQ(sum, checksum({}));
}

}  // namespace
