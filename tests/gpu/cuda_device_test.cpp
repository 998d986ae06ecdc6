// The CUDA device over a double of CUDA: what it does, and what it says when CUDA fails. No GPU is needed.
#include "gpu/cuda_device.hpp"

#include <atomic>
#include <cstdlib>
#include <numeric>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "gpu/cast.hpp"
#include "gpu/checksum.hpp"
#include "gpu/cuda_library.hpp"
#include "tests/gpu/cuda_double.hpp"
#include "tests/gpu/device_tools.hpp"

using namespace longshore;
using testing::ElementsAreArray;
using testing::HasSubstr;

namespace {

constexpr uint64_t block_bytes = 1 << 16;

/// A device over a double, a registered block of host memory, and a stream.
class cuda_device_over_a_double : public testing::Test {
protected:
  void SetUp() override { start({}); }

  void start(cuda_double::options options) {
    gpu.reset();
    cuda.emplace(options);
    auto made = make_cuda_device(cuda->table(), {.index = options.used_device, .checksums_most = 4});
    ASSERT_TRUE(made) << to_text(made.error());
    gpu = std::move(*made);
    ASSERT_TRUE(gpu->register_host(block.data(), block_bytes));
    stream = *gpu->make_stream();
  }

  void TearDown() override {
    if (cuda)
      cuda->release();
    gpu.reset();
    EXPECT_EQ(cuda->alive(), (cuda_double::counts{0, 0, 0, 0}));
    EXPECT_THAT(cuda->complaints(), ElementsAreArray(expected_complaints));
  }

  device_address uploaded() {
    const auto address = *gpu->allocate(block_bytes);
    EXPECT_TRUE(gpu->copy_to_device(stream, block.data(), address, block_bytes));
    return address;
  }

  /// What lies on the device, read through its address as only a double allows.
  static std::span<const std::byte> on_device(device_address address, uint64_t bytes) {
    return {reinterpret_cast<const std::byte*>(address), bytes};
  }

  page_block block{block_bytes};
  std::optional<cuda_double> cuda;
  std::unique_ptr<device> gpu;
  stream_id stream = 0;
  std::vector<std::string> expected_complaints;
};

TEST_F(cuda_device_over_a_double, bytes_go_there_and_back) {
  const auto address = uploaded();
  EXPECT_EQ(address % device::alignment_bytes, 0u);
  page_block back{block_bytes, 99};
  ASSERT_TRUE(gpu->register_host(back.data(), block_bytes));
  ASSERT_TRUE(gpu->copy_to_host(stream, address, back.data(), block_bytes));
  ASSERT_TRUE(finish(*gpu, stream));
  EXPECT_TRUE(same(back.bytes(), block.bytes()));
  EXPECT_EQ(gpu->name(), "cuda:0");
}

TEST_F(cuda_device_over_a_double, calls_its_own_device_on_every_thread) {
  start({.devices = 3, .used_device = 2});
  std::thread{[&] { uploaded(); }}.join();
  ASSERT_TRUE(finish(*gpu, stream));
  EXPECT_EQ(gpu->name(), "cuda:2");
}

TEST_F(cuda_device_over_a_double, memory_that_is_short_is_told_with_what_is_free) {
  const auto before = *gpu->memory();
  const auto refused = gpu->allocate(before.free_bytes + 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::out_of_budget);
  EXPECT_THAT(refused.error().what, HasSubstr(std::to_string(before.free_bytes)));
  const auto address = *gpu->allocate(before.free_bytes);
  EXPECT_EQ(gpu->memory()->free_bytes, 0u);
  gpu->free(address);
  gpu->free(address);
  gpu->free(0);
  EXPECT_EQ(gpu->memory()->free_bytes, before.free_bytes);
  EXPECT_EQ(gpu->memory()->total_bytes, before.total_bytes);
}

TEST_F(cuda_device_over_a_double, pieces_are_scattered_in_batches_and_may_be_gone_at_once) {
  const auto packed = uploaded(), spread = *gpu->allocate(4 * block_bytes);
  constexpr uint64_t pieces_most = 500, piece_bytes = 100;
  {
    std::vector<scatter_piece> pieces;
    for (uint64_t i = 0; i < pieces_most; ++i)
      pieces.push_back({i * piece_bytes, spread + i * 256, i % 50 == 49 ? 0 : piece_bytes});
    cuda->hold();
    ASSERT_TRUE(gpu->scatter(stream, packed, pieces));
    ASSERT_TRUE(gpu->scatter(stream, packed, {}));
    std::fill(pieces.begin(), pieces.end(), scatter_piece{});
  }
  cuda->release();
  ASSERT_TRUE(finish(*gpu, stream));
  EXPECT_EQ(cuda->calls_of("scatter"), 3u);
  for (uint64_t i = 0; i < pieces_most; ++i)
    if (i % 50 != 49) {
      ASSERT_TRUE(same(on_device(spread + i * 256, piece_bytes), block.bytes().subspan(i * piece_bytes, piece_bytes)));
    }
}

TEST_F(cuda_device_over_a_double, elements_are_cast) {
  const auto source = uploaded(), cast = *gpu->allocate(2 * block_bytes);
  const cast_request request{source, dtype::BF16, cast, dtype::F32, block_bytes / 2};
  ASSERT_TRUE(gpu->cast(stream, request));
  ASSERT_TRUE(finish(*gpu, stream));
  std::vector<std::byte> expected(2 * block_bytes);
  cast_elements(block.data(), dtype::BF16, expected.data(), dtype::F32, block_bytes / 2);
  EXPECT_TRUE(same(on_device(cast, 2 * block_bytes), expected));
}

TEST_F(cuda_device_over_a_double, casts_that_make_no_sense_are_refused) {
  const auto a = uploaded();
  const auto code = [&](const cast_request& request) { return gpu->cast(stream, request).error().code; };
  EXPECT_EQ(code({a, dtype::I64, a + 1024, dtype::F32, 4}), errc::unsupported);
  EXPECT_EQ(code({a, dtype::F32, a + 15, dtype::F16, 4}), errc::bad_argument);
  EXPECT_EQ(code({a, dtype::F32, a + 15, dtype::F16, ~uint64_t{0}}), errc::bad_argument);
  EXPECT_TRUE(gpu->cast(stream, {a, dtype::F32, a + 16, dtype::F16, 4}));
  EXPECT_TRUE(gpu->cast(stream, {a, dtype::F32, a + 16, dtype::F16, 0}));
  EXPECT_TRUE(finish(*gpu, stream));
}

TEST_F(cuda_device_over_a_double, a_checksum_is_there_before_the_completion_behind_it) {
  const auto address = uploaded();
  uint64_t whole = 0, part = 0, none = 1;
  ASSERT_TRUE(gpu->checksum(stream, address, block_bytes, &whole));
  ASSERT_TRUE(gpu->checksum(stream, address, 1001, &part));
  ASSERT_TRUE(gpu->checksum(stream, address, 0, &none));
  ASSERT_TRUE(finish(*gpu, stream));
  EXPECT_EQ(whole, checksum(block.bytes()));
  EXPECT_EQ(part, checksum(block.bytes().first(1001)));
  EXPECT_EQ(none, checksum({}));
}

TEST_F(cuda_device_over_a_double, too_many_checksums_in_flight_are_refused) {
  const auto address = uploaded();
  std::vector<uint64_t> sums(5);
  cuda->hold();
  for (size_t i = 0; i < 4; ++i)
    ASSERT_TRUE(gpu->checksum(stream, address, i, &sums[i]));
  EXPECT_EQ(gpu->checksum(stream, address, 4, &sums[4]).error().code, errc::overloaded);
  cuda->release();
  ASSERT_TRUE(finish(*gpu, stream));
  EXPECT_TRUE(gpu->checksum(stream, address, 4, &sums[4]));
  EXPECT_TRUE(finish(*gpu, stream));
  EXPECT_EQ(sums[4], checksum(block.bytes().first(4)));
}

TEST_F(cuda_device_over_a_double, completions_come_in_order_and_may_queue_more) {
  std::vector<int> order;
  const told<void*> last;
  for (int i = 0; i < 100; ++i)
    ASSERT_TRUE(gpu->when_over(stream, [&order, i](const auto&) { order.push_back(i); }));
  ASSERT_TRUE(gpu->when_over(stream, [&](const auto&) {
    uploaded();
    EXPECT_TRUE(gpu->when_over(stream, [&](const expected<void>& over) { last.tell(over ? &order : nullptr); }));
  }));
  EXPECT_EQ(last.wait(), &order);
  std::vector<int> expected(100);
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(order, expected);
}

TEST_F(cuda_device_over_a_double, a_stream_waits_for_an_event_and_others_do_not_wait_for_it) {
  const auto waiting = *gpu->make_stream(), other = *gpu->make_stream();
  const auto address = *gpu->allocate(block_bytes);
  cuda->hold();
  ASSERT_TRUE(gpu->copy_to_device(stream, block.data(), address, block_bytes));
  const auto event = *gpu->record_event(stream);
  EXPECT_FALSE(*gpu->event_is_over(event));
  ASSERT_TRUE(gpu->wait_event(waiting, event));
  uint64_t sum = 0;
  ASSERT_TRUE(gpu->checksum(waiting, address, block_bytes, &sum));
  cuda->release();
  ASSERT_TRUE(finish(*gpu, other));
  ASSERT_TRUE(finish(*gpu, waiting));
  EXPECT_TRUE(*gpu->event_is_over(event));
  EXPECT_EQ(sum, checksum(block.bytes()));
  gpu->destroy_event(event);
  gpu->destroy_event(event);
  EXPECT_EQ(gpu->event_is_over(event).error().code, errc::bad_argument);
  EXPECT_EQ(gpu->wait_event(stream, event).error().code, errc::bad_argument);
}

// The thread of one stream sits in a completion; the other's completion comes all the same.
TEST_F(cuda_device_over_a_double, a_completion_that_takes_long_holds_no_other_stream_up) {
  const auto other = *gpu->make_stream();
  gate closed;
  closed.hold(*gpu, stream);
  EXPECT_TRUE(finish(*gpu, other));
  closed.open();
}

TEST_F(cuda_device_over_a_double, a_destroyed_stream_runs_what_was_queued) {
  const auto address = *gpu->allocate(block_bytes);
  const told<expected<void>> over;
  cuda->hold();
  ASSERT_TRUE(gpu->copy_to_device(stream, block.data(), address, block_bytes));
  ASSERT_TRUE(gpu->when_over(stream, [over](const expected<void>& result) { over.tell(result); }));
  gpu->destroy_stream(stream);
  gpu->destroy_stream(stream);
  EXPECT_EQ(gpu->when_over(stream, {}).error().code, errc::bad_argument);
  cuda->release();
  EXPECT_TRUE(over.wait());
  EXPECT_TRUE(same(on_device(address, block_bytes), block.bytes()));
}

TEST_F(cuda_device_over_a_double, streams_come_and_go_from_their_own_completions_too) {
  auto& on = *gpu;  // the last completions come while the device ends
  for (int i = 0; i < 50; ++i) {
    const auto made = *on.make_stream();
    ASSERT_NE(made, stream);
    ASSERT_TRUE(on.when_over(made, [&on, made](const auto&) { on.destroy_stream(made); }));
    ASSERT_TRUE(finish(on, stream));
  }
}

TEST_F(cuda_device_over_a_double, its_end_waits_for_all_work_and_gives_everything_back) {
  std::atomic<int> completions{0};
  cuda->hold();
  uploaded();
  ASSERT_TRUE(gpu->record_event(stream));
  for (int i = 0; i < 10; ++i)
    ASSERT_TRUE(gpu->when_over(stream, [&](const auto&) { ++completions; }));
  uploaded();  // behind the last completion
  std::thread ending{[&] { gpu.reset(); }};
  cuda->release();
  ending.join();
  EXPECT_EQ(completions, 10);
  EXPECT_EQ(cuda->queued(), 0u);
}

TEST_F(cuda_device_over_a_double, what_makes_no_sense_is_refused) {
  const auto none = stream + 7;
  EXPECT_EQ(gpu->allocate(0).error().code, errc::bad_argument);
  EXPECT_EQ(gpu->copy_to_device(none, block.data(), 0, 1).error().code, errc::bad_argument);
  EXPECT_EQ(gpu->record_event(none).error().code, errc::bad_argument);
  EXPECT_EQ(gpu->checksum(none, 0, 1, nullptr).error().code, errc::bad_argument);
  EXPECT_EQ(gpu->checksum(stream, 0, 1, nullptr).error().code, errc::bad_argument);
  EXPECT_EQ(gpu->register_host(block.data() + 1, 4096).error().code, errc::bad_argument);
  EXPECT_EQ(gpu->register_host(block.data(), 4097).error().code, errc::bad_argument);
  EXPECT_EQ(gpu->register_host(block.data(), 4096).error().code, errc::bad_argument) << "registered already";
  EXPECT_EQ(gpu->unregister_host(block.data() + 4096).error().code, errc::bad_argument);
  EXPECT_TRUE(gpu->copy_to_device(stream, nullptr, 0, 0)) << "nothing to copy";
}

TEST_F(cuda_device_over_a_double, a_source_reused_before_its_copy_has_run_is_noticed) {
  cuda->hold();
  uploaded();
  block.data()[77] ^= std::byte{1};
  cuda->release();
  ASSERT_TRUE(finish(*gpu, stream));
  expected_complaints = {"a source changed before its copy ran"};
}

TEST_F(cuda_device_over_a_double, a_copy_from_memory_never_registered_is_noticed) {
  const page_block other{4096};
  const auto address = *gpu->allocate(4096);
  ASSERT_TRUE(gpu->copy_to_device(stream, other.data(), address, 4096));
  ASSERT_TRUE(finish(*gpu, stream));
  expected_complaints = {"a copy from or to memory never registered"};
}

TEST_F(cuda_device_over_a_double, memory_given_back_while_queued_work_uses_it_is_noticed) {
  cuda->hold();
  gpu->free(uploaded());
  ASSERT_TRUE(gpu->unregister_host(block.data()));
  expected_complaints = {"memory freed that queued work uses", "memory unregistered that queued work uses"};
}

TEST_F(cuda_device_over_a_double, all_of_it_from_many_threads) {
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i) {
        const auto own = *gpu->make_stream();
        const auto address = *gpu->allocate(block_bytes);
        uint64_t sum = 0;
        EXPECT_TRUE(gpu->copy_to_device(own, block.data(), address, block_bytes));
        const auto event = *gpu->record_event(own);
        EXPECT_TRUE(gpu->wait_event(stream, event));
        const auto summed = gpu->checksum(own, address, block_bytes, &sum);  // four of four at most
        good += summed && finish(*gpu, own) && sum == checksum(block.bytes());
        EXPECT_TRUE(finish(*gpu, stream));
        gpu->destroy_event(event);
        gpu->destroy_stream(own);
        gpu->free(address);
      }
    });
  for (auto& thread : threads)
    thread.join();
  EXPECT_EQ(good, 4 * 20);
}

TEST(cuda_library, a_library_that_is_not_there_is_named) {
  ASSERT_EQ(::setenv("LONGSHORE_CUDA_LIBRARY", "/nowhere/liblongshore_cuda.so", 1), 0);
  const auto table = load_cuda_table();
  ASSERT_EQ(::unsetenv("LONGSHORE_CUDA_LIBRARY"), 0);
  ASSERT_FALSE(table);
  EXPECT_EQ(table.error().code, errc::unsupported);
  EXPECT_THAT(table.error().what, HasSubstr("/nowhere/liblongshore_cuda.so"));
}

TEST(cuda_library, is_looked_for_beside_the_program_first) {
  ASSERT_EQ(::unsetenv("LONGSHORE_CUDA_LIBRARY"), 0);
  const auto places = cuda_library_places();
  ASSERT_EQ(places.size(), 2u);
  EXPECT_THAT(places.front(), testing::EndsWith("/liblongshore_cuda.so"));
  EXPECT_EQ(places.back(), "liblongshore_cuda.so");
}

TEST(cuda_library, a_library_without_the_table_is_refused) {
  ASSERT_EQ(::setenv("LONGSHORE_CUDA_LIBRARY", "libc.so.6", 1), 0);
  const auto table = load_cuda_table();
  ASSERT_EQ(::unsetenv("LONGSHORE_CUDA_LIBRARY"), 0);
  ASSERT_FALSE(table);
  EXPECT_THAT(table.error().what, HasSubstr("no table"));
}

TEST(cuda_device, that_is_not_there_is_refused_with_how_many_are) {
  const auto refused_by = [](cuda_double& cuda, int index) {
    const auto made = make_cuda_device(cuda.table(), {.index = index});
    EXPECT_FALSE(made);
    EXPECT_EQ(made.error().code, errc::unsupported);
    return made.error().what;
  };
  {
    cuda_double cuda{{.devices = 2, .used_device = 0}};
    EXPECT_THAT(refused_by(cuda, 2), HasSubstr("no cuda:2: CUDA sees 2 GPUs"));
  }
  cuda_double cuda;
  cuda.fail_call("get_device_count", 0, cuda_code::no_device);
  EXPECT_THAT(refused_by(cuda, 0), HasSubstr("no cuda:0: CUDA sees no GPU"));
}

TEST(cuda_device_count, is_the_drivers_and_none_without_a_device) {
  {
    const cuda_double cuda{{.devices = 3, .used_device = 0}};
    EXPECT_EQ(*cuda_device_count(cuda.table()), 3);
  }
  cuda_double none;
  none.fail_call("get_device_count", 0, cuda_code::no_device);
  EXPECT_EQ(*cuda_device_count(none.table()), 0);
  none.fail_call("get_device_count", 1, cuda_code::driver_too_old);
  const auto no_driver = cuda_device_count(none.table());
  ASSERT_FALSE(no_driver);
  EXPECT_EQ(no_driver.error().code, errc::unsupported);
  EXPECT_THAT(no_driver.error().what, HasSubstr("no NVIDIA driver"));
}

}  // namespace
