// The host device: order, memory, registration. Tests wait for completions, and for no time.
#include "gpu/host_device.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "gpu/checksum.hpp"
#include "tests/gpu/device_tools.hpp"

using namespace longshore;

namespace {

constexpr auto page = page_block::page_bytes;
constexpr uint64_t mib = 1 << 20;

std::span<const std::byte> on_device(device_address address, uint64_t bytes) {
  return {reinterpret_cast<const std::byte*>(address), bytes};
}

TEST(host_device, bytes_go_there_and_back) {
  host_device device;
  const page_block source{3 * mib, 1}, result{3 * mib, 2};
  const auto stream = device.make_stream().value();
  const auto address = device.allocate(3 * mib).value();
  EXPECT_EQ(address % device::alignment_bytes, 0u);
  ASSERT_TRUE(device.copy_to_device(stream, source.data(), address, 3 * mib));
  ASSERT_TRUE(device.copy_to_host(stream, address, result.data(), 3 * mib));
  ASSERT_TRUE(finish(device, stream));
  EXPECT_TRUE(same(source.bytes(), result.bytes()));
  EXPECT_EQ(device.counts().copies, 2u);
  EXPECT_EQ(device.counts().copied_bytes, 6 * mib);
  EXPECT_EQ(device.counts().unpinned_copies, 2u);
}

TEST(host_device, memory_is_hard_and_the_error_says_what_is_short) {
  host_device device{{.capacity_bytes = 1024}};
  const auto first = device.allocate(700).value();
  EXPECT_EQ(device.memory()->total_bytes, 1024u);
  EXPECT_EQ(device.memory()->free_bytes, 256u) << "700 bytes take three units of the alignment";
  const auto refused = device.allocate(257);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::out_of_budget);
  EXPECT_NE(refused.error().what.find("256 bytes short"), std::string::npos) << refused.error().what;
  const auto huge = device.allocate(~uint64_t{0});
  ASSERT_FALSE(huge);
  EXPECT_EQ(huge.error().code, errc::out_of_budget);
  EXPECT_TRUE(device.allocate(256));
  EXPECT_EQ(device.memory()->free_bytes, 0u);
  device.free(first);
  device.free(0);
  EXPECT_EQ(device.memory()->free_bytes, 768u);
  EXPECT_EQ(device.counts().allocated.most, 1024u);
  EXPECT_EQ(device.counts().bad_frees, 0u);
  device.free(first);
  EXPECT_EQ(device.counts().bad_frees, 1u);
}

TEST(host_device, nothing_is_copied_outside_an_allocation) {
  host_device device;
  const page_block host{4096};
  const auto stream = device.make_stream().value();
  const auto address = device.allocate(1024).value();
  std::array<scatter_piece, 1> piece{{{.source_offset_bytes = 0, .destination = address + 1000, .length_bytes = 25}}};
  uint64_t sum = 0;
  EXPECT_FALSE(device.copy_to_device(stream, host.data(), address + 1, 1024));
  EXPECT_FALSE(device.copy_to_device(stream, host.data(), address - 1, 8));
  EXPECT_FALSE(device.copy_to_host(stream, address, host.data(), 1025));
  EXPECT_FALSE(device.scatter(stream, address, piece));
  EXPECT_FALSE(device.checksum(stream, address, 1025, &sum));
  EXPECT_FALSE(device.cast(stream, {address, dtype::BF16, address + 512, dtype::F32, 129}));
  EXPECT_FALSE(device.copy_to_device(stream + 1, host.data(), address, 8)) << "no such stream";
  EXPECT_TRUE(finish(device, stream)) << "a call that fails has queued nothing";
  EXPECT_EQ(device.counts().copies, 0u);
}

TEST(host_device, memory_freed_before_its_copy_has_run_is_told) {
  host_device device;
  const page_block host{4096};
  const auto stream = device.make_stream().value();
  const auto address = device.allocate(4096).value();
  gate held;
  held.hold(device, stream);
  ASSERT_TRUE(device.copy_to_device(stream, host.data(), address, 4096));
  device.free(address);
  held.open();
  EXPECT_FALSE(finish(device, stream));
}

TEST(host_device, pieces_are_scattered) {
  host_device device;
  const page_block host{4096};
  const auto stream = device.make_stream().value();
  const auto packed = device.allocate(4096).value(), place = device.allocate(4096).value();
  {
    std::vector<scatter_piece> pieces{{0, place + 512, 100}, {100, place, 7}, {107, place + 1024, 1000}};
    ASSERT_TRUE(device.copy_to_device(stream, host.data(), packed, 1107));
    ASSERT_TRUE(device.scatter(stream, packed, pieces));
    std::ranges::fill(pieces, scatter_piece{});  // the device has its own
  }
  ASSERT_TRUE(finish(device, stream));
  EXPECT_TRUE(same(on_device(place + 512, 100), host.bytes().subspan(0, 100)));
  EXPECT_TRUE(same(on_device(place, 7), host.bytes().subspan(100, 7)));
  EXPECT_TRUE(same(on_device(place + 1024, 1000), host.bytes().subspan(107, 1000)));
}

TEST(host_device, elements_are_cast_and_memory_is_summed) {
  host_device device;
  const auto stream = device.make_stream().value();
  const auto source = device.allocate(6).value(), destination = device.allocate(12).value();
  const std::array<uint16_t, 3> halves{0x3f80, 0xc000, 0x7f80};  // 1, -2, infinity
  ASSERT_TRUE(device.copy_to_device(stream, reinterpret_cast<const std::byte*>(halves.data()), source, 6));
  ASSERT_TRUE(device.cast(stream, {source, dtype::BF16, destination, dtype::F32, 3}));
  uint64_t sum = 0;
  ASSERT_TRUE(device.checksum(stream, destination, 12, &sum));
  ASSERT_TRUE(finish(device, stream));
  const std::array<uint32_t, 3> words{0x3f800000, 0xc0000000, 0x7f800000};
  EXPECT_EQ(sum, checksum(std::as_bytes(std::span{words})));
  const auto unknown = device.cast(stream, {source, dtype::I64, destination, dtype::F32, 1});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, errc::unsupported);
  EXPECT_FALSE(device.cast(stream, {source, dtype::BF16, source + 1, dtype::F32, 1})) << "they overlap";
}

TEST(host_device, work_of_a_stream_runs_in_order) {
  host_device device;
  const auto stream = device.make_stream().value();
  std::vector<int> seen;  // by the stream's thread alone
  for (int i = 0; i < 1000; ++i)
    ASSERT_TRUE(device.when_over(stream, [&seen, i](const auto&) { seen.push_back(i); }));
  ASSERT_TRUE(finish(device, stream));
  EXPECT_EQ(seen.size(), 1000u);
  EXPECT_TRUE(std::ranges::is_sorted(seen));
}

TEST(host_device, an_event_orders_streams_and_says_when_it_is_over) {
  host_device device;
  const auto up = device.make_stream().value(), down = device.make_stream().value();
  const auto address = device.allocate(page).value();
  for (uint8_t round = 0; round < 100; ++round) {
    const page_block source{page, round}, result{page, 200};
    gate held;
    held.hold(device, up);
    ASSERT_TRUE(device.copy_to_device(up, source.data(), address, page));
    const auto event = device.record_event(up).value();
    ASSERT_TRUE(device.wait_event(down, event));
    ASSERT_TRUE(device.copy_to_host(down, address, result.data(), page));
    EXPECT_FALSE(device.event_is_over(event).value());
    held.open();
    ASSERT_TRUE(finish(device, down));
    EXPECT_TRUE(same(source.bytes(), result.bytes()));
    EXPECT_TRUE(device.event_is_over(event).value());
    device.destroy_event(event);
    EXPECT_FALSE(device.event_is_over(event));
    EXPECT_FALSE(device.wait_event(down, event));
  }
}

TEST(host_device, an_event_destroyed_while_a_stream_waits_for_it_still_comes) {
  host_device device;
  const auto first = device.make_stream().value(), second = device.make_stream().value();
  gate held;
  held.hold(device, first);
  const auto event = device.record_event(first).value();
  ASSERT_TRUE(device.wait_event(second, event));
  device.destroy_event(event);
  held.open();
  EXPECT_TRUE(finish(device, second));
}

TEST(host_device, a_destroyed_stream_still_runs_what_was_queued) {
  host_device device{{.streams_most = 2}};
  const auto stream = device.make_stream().value();
  const told<bool> ran;
  gate held;
  held.hold(device, stream);
  ASSERT_TRUE(device.when_over(stream, [ran](const auto&) { ran.tell(true); }));
  device.destroy_stream(stream);
  EXPECT_FALSE(device.when_over(stream, [](const auto&) {}));
  held.open();
  EXPECT_TRUE(ran.wait());
  EXPECT_NE(device.make_stream().value(), stream) << "a number is never used twice";
}

TEST(host_device, streams_come_and_go_without_end_from_their_own_completions_too) {
  host_device device{{.streams_most = 8}};
  for (int i = 0; i < 100; ++i) {
    auto stream = device.make_stream();
    while (!stream) {  // those before have been told to end, and do
      ASSERT_EQ(stream.error().code, errc::overloaded);
      stream = device.make_stream();
    }
    const told<bool> gone;
    ASSERT_TRUE(device.when_over(*stream, [&device, gone, id = *stream](const auto&) {
      device.destroy_stream(id);
      gone.tell(true);
    }));
    EXPECT_TRUE(gone.wait());
  }
}

TEST(host_device, the_end_of_a_device_waits_for_all_its_work) {
  jumping_clock time;
  const page_block host{mib};
  std::atomic<int> completions = 0;
  {
    host_device device{{.link_bytes_per_s = 1000, .clock = time.clock()}};
    const auto address = device.allocate(3 * mib).value();
    for (int i = 0; i < 3; ++i) {
      const auto stream = device.make_stream().value();
      ASSERT_TRUE(device.copy_to_device(stream, host.data(), address + i * mib, mib));
      ASSERT_TRUE(device.when_over(stream, [&, stream](const auto&) {
        ++completions;
        EXPECT_TRUE(device.when_over(stream, [&](const auto&) { ++completions; })) << "a completion may queue more";
      }));
    }
  }
  EXPECT_EQ(completions, 6);
}

TEST(host_device, limits_of_streams_and_queues_are_told) {
  host_device device{{.streams_most = 1, .queued_most = 3}};
  const auto stream = device.make_stream().value();
  EXPECT_EQ(device.make_stream().error().code, errc::overloaded);
  gate held;
  held.hold(device, stream);
  size_t queued = 0;
  expected<void> last;
  while ((last = device.when_over(stream, [](const auto&) {})))
    ++queued;
  EXPECT_EQ(last.error().code, errc::overloaded);
  EXPECT_GE(queued, 2u);
  EXPECT_LE(queued, 3u) << "what holds the stream either waits too, or runs";
  held.open();
}

TEST(host_device_registration, ranges_are_whole_pages_and_do_not_overlap) {
  host_device device;
  const page_block host{8 * page};
  EXPECT_FALSE(device.register_host(host.data() + 1, 4096));
  EXPECT_FALSE(device.register_host(host.data(), 4095));
  EXPECT_FALSE(device.register_host(host.data(), 0));
  ASSERT_TRUE(device.register_host(host.data() + 2 * page, 2 * page));
  EXPECT_FALSE(device.register_host(host.data() + 2 * page, 2 * page));
  EXPECT_FALSE(device.register_host(host.data() + 3 * page, 2 * page));
  EXPECT_FALSE(device.register_host(host.data(), 3 * page));
  EXPECT_FALSE(device.register_host(host.data(), 8 * page));
  ASSERT_TRUE(device.register_host(host.data() + 4 * page, 4096)) << "it touches, and does not overlap";
  EXPECT_EQ(device.counts().registered.now, 3 * page);
  EXPECT_FALSE(device.unregister_host(host.data() + 3 * page)) << "no range begins there";
  ASSERT_TRUE(device.unregister_host(host.data() + 2 * page));
  EXPECT_FALSE(device.unregister_host(host.data() + 2 * page));
  EXPECT_EQ(device.counts().registered.now, 4096u);
  EXPECT_EQ(device.counts().registered.most, 3 * page);
}

TEST(host_device_registration, copies_are_told_apart_by_what_is_registered) {
  host_device device{{.require_registered = true}};
  const page_block host{4 * page};
  const auto stream = device.make_stream().value();
  const auto address = device.allocate(4 * page).value();
  ASSERT_TRUE(device.register_host(host.data(), 4096));
  ASSERT_TRUE(device.register_host(host.data() + 4096, 4096));
  EXPECT_TRUE(device.copy_to_device(stream, host.data() + 100, address, 8000)) << "two ranges that touch cover it";
  EXPECT_FALSE(device.copy_to_device(stream, host.data() + 4096, address, 8000)) << "the second half is not registered";
  EXPECT_FALSE(device.copy_to_host(stream, address, host.data() + 2 * page, 4096)) << "nothing of it is";
  ASSERT_TRUE(finish(device, stream));
  EXPECT_EQ(device.counts().unpinned_copies, 0u);
  EXPECT_EQ(device.counts().copies, 1u);
}

TEST(host_device_registration, memory_with_copies_in_flight_stays_registered) {
  host_device device;
  const page_block host{2 * page};
  const auto stream = device.make_stream().value();
  const auto address = device.allocate(8192).value();
  ASSERT_TRUE(device.register_host(host.data(), 8192));
  gate held;
  held.hold(device, stream);
  ASSERT_TRUE(device.copy_to_device(stream, host.data() + 4096, address, 4096));
  EXPECT_FALSE(device.unregister_host(host.data()));
  EXPECT_EQ(device.counts().registered.now, 8192u);
  held.open();
  const told<bool> unregistered;  // in the completion itself: by then the copy must be over
  ASSERT_TRUE(device.when_over(stream, [&device, &host, unregistered](const auto&) {
    unregistered.tell(device.unregister_host(host.data()).has_value());
  }));
  EXPECT_TRUE(unregistered.wait());
}

/// A source that another stream's completion changes while its copy is queued, and the copy's result.
expected<void> copy_of_a_changing_source(host_device& device, bool change) {
  const page_block host{4096};
  const auto first = device.make_stream().value(), second = device.make_stream().value();
  const auto address = device.allocate(4096).value();
  gate held;
  held.hold(device, first);
  EXPECT_TRUE(device.when_over(first, [&](const auto&) { host.data()[4000] ^= std::byte{change}; }));
  EXPECT_TRUE(device.wait_event(second, device.record_event(first).value()));
  EXPECT_TRUE(device.copy_to_device(second, host.data(), address, 4096));
  held.open();
  return finish(device, second);
}

TEST(host_device, a_source_reused_before_its_copy_has_run_is_noticed) {
  host_device device{{.check_sources = true}};
  EXPECT_TRUE(copy_of_a_changing_source(device, false));
  EXPECT_EQ(device.counts().changed_sources, 0u);
  const auto changed = copy_of_a_changing_source(device, true);
  ASSERT_FALSE(changed);
  EXPECT_EQ(changed.error().code, errc::mismatch);
  EXPECT_EQ(device.counts().changed_sources, 1u);
}

TEST(host_device, a_source_reused_unchecked_arrives_changed) {
  host_device device;
  EXPECT_TRUE(copy_of_a_changing_source(device, true)) << "which is why the check exists";
}

TEST(host_device, a_source_reused_while_its_copy_travels_is_noticed) {
  jumping_clock time;
  const page_block host{4096};
  auto clock = time.clock();
  const auto begin = time.now();
  clock.wait_until = [&, jump = clock.wait_until](host_time at) {
    if (at > begin)  // the end of the only turn: the bytes are copied, and the stream believes them on the way
      host.data()[0] ^= std::byte{1};
    jump(at);
  };
  host_device device{{.link_bytes_per_s = 4096, .check_sources = true, .clock = clock}};
  const auto stream = device.make_stream().value();
  const auto address = device.allocate(4096).value();
  ASSERT_TRUE(device.copy_to_device(stream, host.data(), address, 4096));
  EXPECT_EQ(finish(device, stream).error().code, errc::mismatch);
}

TEST(host_device, all_of_it_from_many_threads) {
  host_device device{{.capacity_bytes = 4 * mib, .link_bytes_per_s = 4'000'000'000, .check_sources = true}};
  std::atomic<uint64_t> wrong = 0;
  const auto use = [&](uint8_t seed) {
    const page_block source{64 << 10, seed}, result{64 << 10};
    for (int i = 0; i < 20; ++i) {
      const auto stream = device.make_stream().value(), back = device.make_stream().value();
      const auto address = device.allocate(64 << 10).value();
      wrong += !device.register_host(source.data(), 64 << 10);
      uint64_t sum = 0;
      wrong += !device.copy_to_device(stream, source.data(), address, 64 << 10);
      wrong += !device.checksum(stream, address, 64 << 10, &sum);
      const auto event = device.record_event(stream).value();
      wrong += !device.wait_event(back, event);
      wrong += !device.copy_to_host(back, address, result.data(), 64 << 10);
      wrong += !finish(device, back);
      wrong += !finish(device, stream);
      wrong += !same(source.bytes(), result.bytes()) || sum != checksum(source.bytes());
      wrong += !device.unregister_host(source.data());
      device.destroy_event(event);
      device.destroy_stream(stream);
      device.destroy_stream(back);
      device.free(address);
    }
  };
  std::vector<std::thread> threads;
  for (uint8_t i = 0; i < 4; ++i)
    threads.emplace_back(use, i);
  for (auto& thread : threads)
    thread.join();
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(device.counts().allocated.now, 0u);
  EXPECT_EQ(device.counts().registered.now, 0u);
  EXPECT_EQ(device.counts().copies, 160u);
}

}  // namespace
