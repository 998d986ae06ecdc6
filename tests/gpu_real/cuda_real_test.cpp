// The CUDA device on a real GPU: what arrives, against the host's own answers.
#include <algorithm>
#include <cstdio>

#include <gmock/gmock.h>

#include "gpu/cast.hpp"
#include "gpu/checksum.hpp"
#include "tests/gpu_real/gpu_fixture.hpp"

using namespace longshore;
using testing::AnyOf;
using testing::HasSubstr;

namespace {

constexpr dtype types[] = {dtype::F32, dtype::F16, dtype::BF16, dtype::F8_E4M3, dtype::F8_E5M2};

// The one test here that needs no GPU: what nvcc built is found, is of this version, and says what is missing.
TEST(cuda_library, is_found_and_says_what_is_missing) {
  const auto table = load_cuda_table();
  ASSERT_TRUE(table) << to_text(table.error());
  const auto made = make_cuda_device(**table);
  if (made) {
    std::printf("GPUs: %d\n", *cuda_device_count(**table));
    return;
  }
  std::printf("no GPU: %s\n", to_text(made.error()).c_str());
  EXPECT_EQ(made.error().code, errc::unsupported);
  EXPECT_THAT(made.error().what, AnyOf(HasSubstr("no NVIDIA driver"), HasSubstr("CUDA sees no GPU")));
}

TEST_F(real_gpu, says_how_much_memory_it_has) {
  const auto memory = gpu->memory();
  ASSERT_TRUE(memory) << to_text(memory.error());
  EXPECT_GT(memory->total_bytes, uint64_t{1} << 30);
  EXPECT_LE(memory->free_bytes, memory->total_bytes);
}

TEST_F(real_gpu, random_bytes_arrive_and_come_back) {
  constexpr uint64_t bytes = (64 << 20) + 4096;
  const pinned_block sent{*gpu, bytes}, back{*gpu, bytes};
  sent.fill(1);
  const auto address = *gpu->allocate(bytes);
  EXPECT_EQ(address % device::alignment_bytes, 0u);
  uint64_t sum = 0;
  ASSERT_TRUE(gpu->copy_to_device(stream, sent.data(), address, bytes));
  ASSERT_TRUE(gpu->checksum(stream, address, bytes, &sum));
  ASSERT_TRUE(gpu->copy_to_host(stream, address, back.data(), bytes));
  ASSERT_TRUE(finish());
  EXPECT_EQ(sum, checksum(sent.bytes().first(bytes)));
  EXPECT_TRUE(std::ranges::equal(sent.bytes(), back.bytes()));
}

TEST_F(real_gpu, checksums_are_the_hosts_at_any_address_and_length) {
  constexpr uint64_t bytes = 1 << 20;
  const pinned_block sent{*gpu, bytes};
  sent.fill(2);
  const auto address = *gpu->allocate(bytes);
  ASSERT_TRUE(gpu->copy_to_device(stream, sent.data(), address, bytes));
  for (const uint64_t offset : {0, 1, 3, 4, 8, 255, 256})
    for (const uint64_t length : {0, 1, 7, 8, 9, 255, 256, 2048, 65537, 1'000'003}) {
      uint64_t sum = 0;
      ASSERT_TRUE(gpu->checksum(stream, address + offset, length, &sum));
      ASSERT_TRUE(finish());
      ASSERT_EQ(sum, checksum(sent.bytes().subspan(offset, length))) << offset << " " << length;
    }
}

/// Elements of one type, on the device and on the host, cast to each type at an address that is aligned or is not.
class real_casts : public real_gpu {
protected:
  void expect_twins(const pinned_block& source, dtype from, uint64_t elements, uint64_t misaligned_bytes) {
    const uint64_t source_bytes = elements * bits(from) / 8;
    const auto before = *gpu->allocate(source_bytes + 256);
    ASSERT_TRUE(gpu->copy_to_device(stream, source.data(), before + misaligned_bytes, source_bytes));
    for (const auto to : types) {
      const uint64_t bytes = elements * bits(to) / 8;
      const pinned_block back{*gpu, bytes};
      std::vector<std::byte> twin(bytes);
      const auto after = *gpu->allocate(bytes + 256);
      ASSERT_TRUE(gpu->cast(stream, {before + misaligned_bytes, from, after + misaligned_bytes, to, elements}));
      ASSERT_TRUE(gpu->copy_to_host(stream, after + misaligned_bytes, back.data(), bytes));
      const auto over = finish();
      ASSERT_TRUE(over) << to_text(over.error());
      cast_elements(source.data(), from, twin.data(), to, elements);
      const auto different = std::ranges::mismatch(twin, back.bytes().first(bytes)).in1 - twin.begin();
      EXPECT_EQ(different, static_cast<ptrdiff_t>(bytes)) << name(from) << " to " << name(to);
      gpu->free(after);
    }
    gpu->free(before);
  }
};

TEST_F(real_casts, every_pattern_of_16_bits_is_cast_like_its_twin) {
  constexpr uint64_t patterns = 1 << 16;
  const pinned_block all{*gpu, patterns * 2};
  for (uint64_t i = 0; i < patterns; ++i) {
    const auto pattern = static_cast<uint16_t>(i);
    std::memcpy(all.data() + 2 * i, &pattern, 2);
  }
  for (const auto from : {dtype::F16, dtype::BF16})
    for (const uint64_t misaligned_bytes : {0, 1, 2})
      expect_twins(all, from, patterns - misaligned_bytes, misaligned_bytes);
}

TEST_F(real_casts, every_pattern_of_8_bits_is_cast_like_its_twin) {
  const pinned_block all{*gpu, 256};
  for (unsigned i = 0; i < 256; ++i)
    all.data()[i] = static_cast<std::byte>(i);
  for (const auto from : {dtype::F8_E4M3, dtype::F8_E5M2})
    for (const uint64_t misaligned_bytes : {0, 1})
      expect_twins(all, from, 256, misaligned_bytes);
}

TEST_F(real_casts, every_251st_pattern_of_f32_is_cast_like_its_twin) {
  constexpr uint64_t patterns = (uint64_t{1} << 32) / 251;
  const pinned_block all{*gpu, patterns * 4};
  for (uint64_t i = 0; i < patterns; ++i) {
    const auto pattern = static_cast<uint32_t>(i * 251);
    std::memcpy(all.data() + 4 * i, &pattern, 4);
  }
  expect_twins(all, dtype::F32, patterns, 0);
}

TEST_F(real_gpu, thousands_of_pieces_are_scattered_to_where_they_belong) {
  constexpr uint64_t packed_bytes = 64 << 20, pieces_most = 20'000;
  const pinned_block packed{*gpu, packed_bytes};
  packed.fill(3);
  std::mt19937_64 random{4};
  std::vector<scatter_piece> pieces;
  uint64_t source = 0, spread_bytes = 0;
  while (pieces.size() < pieces_most && source + 40'000 < packed_bytes) {
    const uint64_t length = pieces.size() % 1000 == 0 ? 30'000 + random() % 10'000 : random() % 4000;
    const uint64_t misaligned = pieces.size() % 3 == 0 ? random() % 32 : 0;
    pieces.push_back({source, spread_bytes + misaligned, length});
    spread_bytes += (misaligned + length + 255) / 256 * 256;
    source += length + random() % 3;
  }
  const auto from = *gpu->allocate(packed_bytes), to = *gpu->allocate(spread_bytes);
  const pinned_block spread{*gpu, spread_bytes};
  std::vector<std::byte> expected(spread_bytes);
  for (const auto& piece : pieces)
    std::memcpy(expected.data() + piece.destination, packed.data() + piece.source_offset_bytes, piece.length_bytes);
  for (auto& piece : pieces)
    piece.destination += to;
  ASSERT_TRUE(gpu->copy_to_device(stream, spread.data(), to, spread_bytes));  // zeros
  ASSERT_TRUE(gpu->copy_to_device(stream, packed.data(), from, packed_bytes));
  ASSERT_TRUE(gpu->scatter(stream, from, pieces));
  uint64_t sum = 0;
  ASSERT_TRUE(gpu->checksum(stream, to, spread_bytes, &sum));
  ASSERT_TRUE(finish());
  EXPECT_EQ(sum, checksum(expected));
}

TEST_F(real_gpu, a_stream_waits_for_another_ones_event) {
  constexpr uint64_t bytes = 256 << 20;
  const pinned_block sent{*gpu, bytes};
  sent.fill(5);
  const auto address = *gpu->allocate(bytes);
  const auto second = *gpu->make_stream();
  uint64_t sum = 0;
  ASSERT_TRUE(gpu->copy_to_device(stream, sent.data(), address, bytes));
  const auto event = gpu->record_event(stream);
  ASSERT_TRUE(event);
  ASSERT_TRUE(gpu->wait_event(second, *event));
  ASSERT_TRUE(gpu->checksum(second, address, bytes, &sum));
  ASSERT_TRUE(finish(second));
  EXPECT_TRUE(*gpu->event_is_over(*event));
  EXPECT_EQ(sum, checksum(sent.bytes()));
  gpu->destroy_event(*event);
}

TEST_F(real_gpu, memory_that_is_short_is_told_and_nothing_else_suffers) {
  const auto refused = gpu->allocate(gpu->memory()->total_bytes + (uint64_t{1} << 40));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::out_of_budget);
  std::printf("%s\n", to_text(refused.error()).c_str());
  const auto address = *gpu->allocate(4096);
  uint64_t sum = 0;
  EXPECT_TRUE(gpu->checksum(stream, address, 4096, &sum)) << "an old failure must not show at a kernel";
  EXPECT_TRUE(finish());
}

TEST_F(real_gpu, host_memory_is_registered_once) {
  const pinned_block once{*gpu, 8192};
  EXPECT_EQ(gpu->register_host(once.data(), 4096).error().code, errc::bad_argument);
  EXPECT_EQ(gpu->unregister_host(once.data() + 4096).error().code, errc::bad_argument);
}

TEST_F(real_gpu, copies_from_memory_that_nobody_registered_arrive_too) {
  std::vector<std::byte> sent(3 << 20, std::byte{7});
  const auto address = *gpu->allocate(sent.size());
  uint64_t sum = 0;
  ASSERT_TRUE(gpu->copy_to_device(stream, sent.data(), address, sent.size()));
  ASSERT_TRUE(gpu->checksum(stream, address, sent.size(), &sum));
  ASSERT_TRUE(finish());
  EXPECT_EQ(sum, checksum(sent));
}

}  // namespace
