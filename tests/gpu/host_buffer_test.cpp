// The pinned buffer against three witnesses: its own word, the device's registrations, and the kernel's pages.
#include "gpu/host_buffer.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "gpu/host_device.hpp"
#include "tests/gpu/device_tools.hpp"
#include "tests/gpu/refused_calls.hpp"

using namespace longshore;

namespace {

constexpr uint64_t granule = host_buffer::granule_bytes;
using segments = std::vector<host_segment>;

/// Pages that exist, by the kernel's word. A range of addresses that nothing is mapped at has none.
uint64_t resident_bytes(const std::byte* begin, uint64_t length_bytes) {
  const auto page_bytes = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> pages(length_bytes / page_bytes);
  if (mincore(const_cast<std::byte*>(begin), length_bytes, pages.data()) != 0)
    return 0;
  return page_bytes * std::ranges::count_if(pages, [](auto page) { return (page & 1) != 0; });
}

/// Whether a byte may be read, without reading it here: the kernel tries, and says so.
bool is_accessible(const std::byte* at) {
  std::array<int, 2> ends{};
  EXPECT_EQ(pipe(ends.data()), 0);
  const auto written = write(ends[1], at, 1);
  const auto code = errno;
  close(ends[0]);
  close(ends[1]);
  EXPECT_TRUE(written == 1 || code == EFAULT);
  return written == 1;
}

/// A driver that registers at most so many bytes at once, and checks that their pages are there already.
struct picky_driver {
  uint64_t most_bytes = ~uint64_t{0};
  uint64_t registrations_left = ~uint64_t{0};
  bool refuses_to_unregister = false;
  uint64_t untouched_bytes = 0;
  std::vector<uint64_t> asked_bytes{};

  device_script script() {
    return [this](const device_call& call) -> std::optional<error> {
      if (call.kind == device_operation::unregister_host && refuses_to_unregister)
        return error{.code = errc::io_failed, .what = "the driver keeps it"};
      if (call.kind != device_operation::register_host)
        return {};
      asked_bytes.push_back(call.bytes);
      untouched_bytes += call.bytes - resident_bytes(call.host, call.bytes);
      if (call.bytes > most_bytes || registrations_left == 0)
        return error{.code = errc::io_failed, .what = "the driver refuses"};
      --registrations_left;
      return {};
    };
  }
};

/// All witnesses agree about what the buffer says.
void expect_agreement(const host_buffer& buffer, const host_device& device) {
  uint64_t sum = 0, free_from = 0;
  for (const auto& segment : buffer.segments()) {
    EXPECT_GE(segment.offset_bytes, free_from);
    EXPECT_GT(segment.length_bytes, 0u);
    EXPECT_EQ(resident_bytes(buffer.data() + segment.offset_bytes, segment.length_bytes), segment.length_bytes);
    free_from = segment.offset_bytes + segment.length_bytes;
    sum += segment.length_bytes;
  }
  EXPECT_LE(free_from, buffer.max_bytes());
  EXPECT_EQ(buffer.registered_bytes(), sum);
  EXPECT_EQ(device.counts().registered.now, sum);
  EXPECT_EQ(resident_bytes(buffer.data(), buffer.max_bytes()), sum);
  for (uint64_t at = 0; at < buffer.max_bytes(); at += granule) {
    const auto in_segment = std::ranges::any_of(buffer.segments(), [at](const auto& segment) {
      return segment.offset_bytes <= at && at < segment.offset_bytes + segment.length_bytes;
    });
    EXPECT_EQ(is_accessible(buffer.data() + at), in_segment) << at;
  }
}

TEST(host_buffer, grows_in_place_by_segments_and_shrinks_from_the_end) {
  host_device device;
  const auto buffer = host_buffer::make(device, {.max_bytes = 16 * granule, .segment_bytes = 2 * granule}).value();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % granule, 0u);
  expect_agreement(*buffer, device);
  ASSERT_TRUE(buffer->grow_to(3 * granule - 1));
  EXPECT_EQ(buffer->segments(), (segments{{0, 2 * granule}, {2 * granule, granule}}));
  std::fill_n(buffer->data(), 3 * granule, std::byte{7});
  ASSERT_TRUE(buffer->grow_to(granule)) << "which is there already";
  ASSERT_TRUE(buffer->grow_to(6 * granule));
  EXPECT_EQ(buffer->segments(),
            (segments{{0, 2 * granule}, {2 * granule, granule}, {3 * granule, 2 * granule}, {5 * granule, granule}}));
  expect_agreement(*buffer, device);
  EXPECT_TRUE(std::all_of(buffer->data(), buffer->data() + 3 * granule, [](auto b) { return b == std::byte{7}; }));
  EXPECT_EQ(buffer->data()[3 * granule], std::byte{0});
  ASSERT_TRUE(buffer->shrink_to(4 * granule)) << "the segment from 3 to 5 reaches across and stays";
  EXPECT_EQ(buffer->registered_bytes(), 5 * granule);
  expect_agreement(*buffer, device);
  ASSERT_TRUE(buffer->shrink_to(0));
  EXPECT_EQ(buffer->registered_bytes(), 0u);
  expect_agreement(*buffer, device);
}

TEST(host_buffer, any_segment_goes_and_its_hole_is_filled_again) {
  host_device device;
  const auto buffer = host_buffer::make(device, {.max_bytes = 8 * granule, .segment_bytes = granule}).value();
  ASSERT_TRUE(buffer->grow_to(4 * granule));
  std::fill_n(buffer->data(), 4 * granule, std::byte{9});
  ASSERT_TRUE(buffer->give_back(granule));
  EXPECT_EQ(buffer->segments(), (segments{{0, granule}, {2 * granule, granule}, {3 * granule, granule}}));
  expect_agreement(*buffer, device);
  EXPECT_EQ(buffer->give_back(granule).error().code, errc::bad_argument);
  EXPECT_EQ(buffer->give_back(2 * granule + 4096).error().code, errc::bad_argument);
  ASSERT_TRUE(buffer->grow_to(4 * granule));
  EXPECT_EQ(buffer->registered_bytes(), 4 * granule);
  EXPECT_EQ(buffer->data()[granule], std::byte{0}) << "fresh memory";
  EXPECT_EQ(buffer->data()[2 * granule], std::byte{9}) << "its neighbour has kept its bytes";
  expect_agreement(*buffer, device);
}

/// While it lives the system refuses: huge pages, the call that brings pages in, or the one that makes them usable.
class refusing_system {
public:
  explicit refusing_system(int populate_errno, int usable_errno = 0) {
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    refused_calls::populate_errno = populate_errno;
    refused_calls::usable_errno = usable_errno;
  }
  ~refusing_system() {
    prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
    refused_calls::populate_errno = refused_calls::usable_errno = 0;
  }
  refusing_system(const refusing_system&) = delete;
  refusing_system& operator=(const refusing_system&) = delete;
};

void expect_pages_before_the_driver() {
  for (const unsigned threads : {0u, 1u, 3u, 64u}) {
    picky_driver driver;
    host_device device{{.script = driver.script()}};
    const host_buffer_options options{
        .max_bytes = 16 * granule, .segment_bytes = 8 * granule, .touch_threads = threads};
    const auto buffer = host_buffer::make(device, options).value();
    ASSERT_TRUE(buffer->grow_to(13 * granule));
    EXPECT_EQ(driver.asked_bytes, (std::vector{8 * granule, 5 * granule}));
    EXPECT_EQ(driver.untouched_bytes, 0u) << threads;
  }
}

TEST(host_buffer, pages_are_there_before_the_driver_sees_them) { expect_pages_before_the_driver(); }

TEST(host_buffer, pages_are_there_where_no_huge_ones_are) {
  const refusing_system without{0};
  expect_pages_before_the_driver();
}

TEST(host_buffer, pages_are_there_where_the_kernel_does_not_bring_them_in) {
  const refusing_system without{EINVAL};
  const auto before = refused_calls::refused.load();
  expect_pages_before_the_driver();
  EXPECT_GT(refused_calls::refused, before) << "else this test has seen nothing";
}

TEST(host_buffer, a_system_without_memory_leaves_it_as_before) {
  picky_driver driver;
  host_device device{{.script = driver.script()}};
  const auto buffer =
      host_buffer::make(device, {.max_bytes = 8 * granule, .segment_bytes = 2 * granule, .touch_threads = 1}).value();
  ASSERT_TRUE(buffer->grow_to(granule));
  for (const auto& [populate_errno, usable_errno] : {std::pair{ENOMEM, 0}, std::pair{0, ENOMEM}}) {
    const refusing_system without{populate_errno, usable_errno};
    const auto before = refused_calls::refused.load();
    const auto refused = buffer->grow_to(8 * granule);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused_calls::refused, before + 1) << "memory that is not there is no reason for halves";
    EXPECT_EQ(refused.error().code, errc::out_of_budget);
    EXPECT_EQ(refused.error().os_error, ENOMEM);
  }
  EXPECT_EQ(buffer->segments(), (segments{{0, granule}}));
  EXPECT_EQ(driver.asked_bytes, (std::vector{granule}));
  expect_agreement(*buffer, device);
  EXPECT_TRUE(buffer->grow_to(8 * granule));
}

TEST(host_buffer, falls_back_to_the_segments_that_the_driver_takes) {
  picky_driver driver{.most_bytes = 3 * granule};
  host_device device{{.script = driver.script()}};
  const auto buffer = host_buffer::make(device, {.max_bytes = 16 * granule, .segment_bytes = 8 * granule}).value();
  ASSERT_TRUE(buffer->grow_to(11 * granule));
  EXPECT_EQ(driver.asked_bytes, (std::vector{8 * granule, 4 * granule, 2 * granule, 2 * granule, 2 * granule,
                                             2 * granule, 2 * granule, granule}))
      << "what was refused is not asked for again";
  EXPECT_EQ(driver.untouched_bytes, 0u);
  expect_agreement(*buffer, device);
}

TEST(host_buffer, a_driver_that_takes_nothing_leaves_nothing) {
  picky_driver driver{.most_bytes = 0};
  host_device device{{.script = driver.script()}};
  const auto buffer = host_buffer::make(device, {.max_bytes = 8 * granule, .segment_bytes = 4 * granule}).value();
  const auto refused = buffer->grow_to(8 * granule);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().what, "the driver refuses");
  EXPECT_EQ(driver.asked_bytes, (std::vector{4 * granule, 2 * granule, granule}));
  expect_agreement(*buffer, device);
  driver.most_bytes = 8 * granule;
  EXPECT_TRUE(buffer->grow_to(8 * granule)) << "it is asked again";
  EXPECT_EQ(driver.asked_bytes.back(), 4 * granule);
}

TEST(host_buffer, refused_at_any_point_it_is_as_before) {
  for (uint64_t point = 0; point < 5; ++point) {
    picky_driver driver;
    host_device device{{.script = driver.script()}};
    const auto buffer =
        host_buffer::make(device, {.max_bytes = 8 * granule, .segment_bytes = granule, .min_segment_bytes = granule})
            .value();
    ASSERT_TRUE(buffer->grow_to(3 * granule));
    ASSERT_TRUE(buffer->give_back(granule));
    const auto before = buffer->segments();
    driver.registrations_left = point;
    EXPECT_FALSE(buffer->grow_to(7 * granule)) << "it takes five: one hole and four more at the end";
    EXPECT_EQ(buffer->segments(), before);
    expect_agreement(*buffer, device);
  }
}

TEST(host_buffer, what_the_driver_does_not_let_go_stays_and_is_counted) {
  picky_driver driver;
  host_device device{{.script = driver.script()}};
  const auto buffer = host_buffer::make(device, {.max_bytes = 4 * granule, .segment_bytes = granule}).value();
  ASSERT_TRUE(buffer->grow_to(2 * granule));
  driver.refuses_to_unregister = true;
  EXPECT_FALSE(buffer->shrink_to(0));
  EXPECT_FALSE(buffer->give_back(0));
  EXPECT_EQ(buffer->registered_bytes(), 2 * granule);
  expect_agreement(*buffer, device);
  driver.refuses_to_unregister = false;
  EXPECT_TRUE(buffer->shrink_to(0));
}

TEST(host_buffer, a_copy_in_flight_keeps_its_segment) {
  host_device device{{.require_registered = true}};
  const auto buffer = host_buffer::make(device, {.max_bytes = 4 * granule, .segment_bytes = granule}).value();
  ASSERT_TRUE(buffer->grow_to(3 * granule));
  const auto stream = device.make_stream().value();
  const auto address = device.allocate(granule).value();
  gate held;
  held.hold(device, stream);
  ASSERT_TRUE(device.copy_to_device(stream, buffer->data() + granule / 2, address, granule)) << "across two segments";
  EXPECT_FALSE(buffer->give_back(0));
  EXPECT_FALSE(buffer->give_back(granule));
  EXPECT_TRUE(buffer->give_back(2 * granule));
  held.open();
  ASSERT_TRUE(finish(device, stream));
  EXPECT_TRUE(buffer->shrink_to(0));
}

TEST(host_buffer, limits_and_senseless_sizes_are_told) {
  host_device device;
  EXPECT_EQ(host_buffer::make(device, {.max_bytes = granule + 1}).error().code, errc::bad_argument);
  EXPECT_EQ(host_buffer::make(device, {.segment_bytes = 0}).error().code, errc::bad_argument);
  EXPECT_EQ(host_buffer::make(device, {.min_segment_bytes = 4096}).error().code, errc::bad_argument);
  EXPECT_EQ(host_buffer::make(device, {.max_bytes = uint64_t{1} << 62}).error().code, errc::out_of_budget);
  const auto buffer = host_buffer::make(device, {.max_bytes = 2 * granule}).value();
  EXPECT_EQ(buffer->grow_to(2 * granule + 1).error().code, errc::out_of_budget);
  EXPECT_EQ(buffer->registered_bytes(), 0u);
  EXPECT_TRUE(buffer->grow_to(2 * granule));
}

TEST(host_buffer, its_end_gives_everything_back) {
  host_device device;
  std::byte* data = nullptr;
  {
    const auto buffer = host_buffer::make(device, {.max_bytes = 4 * granule, .segment_bytes = granule}).value();
    ASSERT_TRUE(buffer->grow_to(3 * granule));
    data = buffer->data();
  }
  EXPECT_EQ(device.counts().registered.now, 0u);
  EXPECT_EQ(resident_bytes(data, 4 * granule), 0u);
  EXPECT_FALSE(is_accessible(data));
}

RC_GTEST_PROP(host_buffer, any_history_keeps_all_witnesses_in_agreement, ()) {
  picky_driver driver{.most_bytes = granule * *rc::gen::inRange<uint64_t>(1, 4)};
  host_device device{{.script = driver.script()}};
  const auto segment_bytes = granule * *rc::gen::inRange<uint64_t>(1, 5);
  const auto buffer = host_buffer::make(device, {.max_bytes = 6 * granule, .segment_bytes = segment_bytes}).value();
  const auto* const data = buffer->data();
  for (const auto step : *rc::gen::resize(6, rc::gen::container<std::vector<uint32_t>>(rc::gen::inRange(0u, 1000u)))) {
    const auto bytes = (step / 4) * uint64_t{60'000};
    const auto before = buffer->segments();
    driver.registrations_left = step % 4 == 0 ? step % 3 : 100;
    const auto grown = step % 4 < 2 ? buffer->grow_to(bytes) : expected<void>{};
    if (!grown)
      RC_ASSERT(buffer->segments() == before);
    else if (step % 4 < 2)
      RC_ASSERT(resident_bytes(data, (bytes + 4095) / 4096 * 4096) == (bytes + 4095) / 4096 * 4096);
    if (step % 4 == 2)
      RC_ASSERT(buffer->shrink_to(bytes).has_value());
    if (step % 4 == 3 && !before.empty())
      RC_ASSERT(buffer->give_back(before[step % before.size()].offset_bytes).has_value());
    RC_ASSERT(buffer->data() == data);
    expect_agreement(*buffer, device);
    RC_ASSERT(!testing::Test::HasFailure());
  }
  RC_ASSERT(driver.untouched_bytes == 0u);
}

}  // namespace
