// Casts in host memory: wherever pieces cut the file, each tensor is there in the end, as the CPU casts it.
#include "gpu/host_cast.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "gpu/cast.hpp"

using namespace longshore;

namespace {

constexpr uint64_t block_bytes = 4096;
constexpr auto untouched = std::byte{0x5a};

safetensors_header header_of(const std::vector<std::pair<dtype, uint64_t>>& tensors, uint64_t data_begin_bytes) {
  safetensors_header header{.data_begin_bytes = data_begin_bytes, .tensors = {}, .metadata = {{"format", "pt"}}};
  uint64_t at = 0;
  for (const auto& [type, elements] : tensors) {
    const auto end = at + elements * bits(type) / 8;
    header.tensors.push_back({"t" + std::to_string(header.tensors.size()), type, {elements}, at, end});
    at = end;
  }
  return header;
}

safetensors_header any_header() {
  const std::vector types{dtype::U8, dtype::F8_E5M2, dtype::F16, dtype::BF16, dtype::F32, dtype::I64};
  std::vector<std::pair<dtype, uint64_t>> tensors;
  for (auto n = *rc::gen::inRange(1, 12); n > 0; --n)
    tensors.emplace_back(*rc::gen::elementOf(types),
                         *rc::gen::oneOf(rc::gen::inRange<uint64_t>(0, 40), rc::gen::inRange<uint64_t>(500, 90'000)));
  return header_of(tensors, *rc::gen::inRange<uint64_t>(8, 3000));
}

std::vector<std::byte> any_bytes(uint64_t count, uint64_t seed) {
  std::mt19937_64 random{seed};
  std::vector<std::byte> bytes(count);
  for (auto& byte : bytes)
    byte = static_cast<std::byte>(random());
  return bytes;
}

uint64_t file_bytes(const safetensors_header& header) {
  return header.data_begin_bytes + (header.tensors.empty() ? 0 : header.tensors.back().end_bytes);
}

/// A file that is read out of memory, `most` bytes at a time.
piece_reader reader_of(const std::vector<std::byte>& file, uint64_t most) {
  return [&file, most](int, std::byte* destination, uint64_t length, uint64_t offset) -> int64_t {
    if (offset >= file.size())
      return 0;
    const auto n = std::min({length, most, file.size() - offset});
    std::memcpy(destination, file.data() + offset, n);
    return static_cast<int64_t>(n);
  };
}

/// Whether the memory is the file with its tensors cast, and untouched in between.
bool is_cast(const std::vector<std::byte>& memory, const host_cast& how, const std::vector<std::byte>& file,
             const safetensors_header& header, dtype to) {
  auto right = std::vector<std::byte>(memory.size(), untouched);
  for (size_t i = 0; i < header.tensors.size(); ++i) {
    const auto& before = header.tensors[i];
    const auto& after = how.header()->tensors[i];
    const auto* source = file.data() + header.data_begin_bytes + before.begin_bytes;
    const auto elements = before.size_bytes() * 8 / bits(before.type);
    const bool changes = can_cast(before.type, to) && before.type != to;
    if (after.type != (changes ? to : before.type) || after.size_bytes() != elements * bits(after.type) / 8 ||
        after.begin_bytes % 256 != 0 || after.shape != before.shape || after.name != before.name)
      return false;
    if (changes)
      cast_elements(source, before.type, right.data() + after.begin_bytes, to, elements);
    else
      std::copy_n(source, before.size_bytes(), right.begin() + static_cast<std::ptrdiff_t>(after.begin_bytes));
  }
  return memory == right;
}

RC_GTEST_PROP(host_cast, pieces_in_any_order_from_memory_or_file_make_the_whole, ()) {
  const auto header = any_header();
  const auto to = *rc::gen::elementOf(std::vector{dtype::F32, dtype::BF16, dtype::F8_E4M3});
  const auto seed = *rc::gen::arbitrary<uint64_t>();
  const auto file = any_bytes(file_bytes(header), seed);
  const host_cast how{header, to};
  std::vector<std::byte> memory(how.total_bytes(), untouched);
  auto pieces =
      plan_reads(header.data_begin_bytes, file.size(),
                 {.chunk_bytes = block_bytes * *rc::gen::inRange<uint64_t>(1, 80), .overlap_bytes = block_bytes},
                 [](auto, auto) { return uint64_t{0}; });
  std::mt19937_64 random{seed};
  std::shuffle(pieces.begin(), pieces.end(), random);
  const auto read = reader_of(file, *rc::gen::inRange<uint64_t>(1000, 200'000));
  for (const auto& piece : pieces) {
    const auto begin = how.place_of(piece.offset_bytes), end = how.place_of(piece.offset_bytes + piece.own_bytes());
    const auto before = memory;
    if (random() % 2 == 0)
      how.put(file.data() + piece.offset_bytes, piece, memory.data());
    else
      RC_ASSERT(!how.put_from_file(-1, piece, memory.data(), read));
    RC_ASSERT(std::equal(before.begin(), before.begin() + static_cast<std::ptrdiff_t>(begin), memory.begin()));
    RC_ASSERT(std::equal(before.begin() + static_cast<std::ptrdiff_t>(end), before.end(),
                         memory.begin() + static_cast<std::ptrdiff_t>(end)));
  }
  RC_ASSERT(is_cast(memory, how, file, header, to));
}

TEST(host_cast, says_how_its_users_will_see_the_file) {
  const host_cast how{header_of({{dtype::U8, 3}, {dtype::F16, 100}, {dtype::I64, 2}, {dtype::F32, 0}}, 123),
                      dtype::F32};
  const auto& there = *how.header();
  EXPECT_EQ(there.data_begin_bytes, 0U);
  EXPECT_EQ(there.metadata, (decltype(there.metadata){{"format", "pt"}}));
  EXPECT_EQ(there.tensors[0], (tensor_info{"t0", dtype::U8, {3}, 0, 3}));
  EXPECT_EQ(there.tensors[1], (tensor_info{"t1", dtype::F32, {100}, 256, 656}));
  EXPECT_EQ(there.tensors[2], (tensor_info{"t2", dtype::I64, {2}, 768, 784}));
  EXPECT_EQ(there.tensors[3], (tensor_info{"t3", dtype::F32, {0}, 1024, 1024}));
  EXPECT_EQ(how.total_bytes(), 1024U);
}

TEST(host_cast, knows_where_each_part_of_the_file_goes) {
  const host_cast how{header_of({{dtype::U8, 3}, {dtype::F16, 100}, {dtype::U8, 5}}, 101), dtype::F32};
  EXPECT_EQ(how.place_of(0), 0U) << "the header goes nowhere";
  EXPECT_EQ(how.place_of(103), 2U);
  EXPECT_EQ(how.place_of(104), 256U);
  EXPECT_EQ(how.place_of(106), 260U);
  EXPECT_EQ(how.place_of(107), 264U) << "the element that begins at 106 is one before";
  EXPECT_EQ(how.place_of(304), 768U);
  EXPECT_EQ(how.place_of(309), how.total_bytes());
}

class host_cast_of_a_file : public testing::Test {
protected:
  std::optional<read_fault> put(const piece_reader& read) {
    return how.put_from_file(
        -1, {header.data_begin_bytes, file.size() - header.data_begin_bytes, read_path::buffered, true}, memory.data(),
        read);
  }

  safetensors_header header = header_of({{dtype::U8, 1}, {dtype::F16, 300'000}}, 99);
  std::vector<std::byte> file = any_bytes(file_bytes(header), 5);
  host_cast how{header, dtype::F32};
  std::vector<std::byte> memory = std::vector<std::byte>(how.total_bytes(), untouched);
};

TEST_F(host_cast_of_a_file, goes_on_after_short_and_interrupted_reads) {
  const auto whole = reader_of(file, ~uint64_t{0});
  int turn = 0;
  EXPECT_FALSE(put([&](int fd, std::byte* destination, uint64_t length, uint64_t offset) -> int64_t {
    return ++turn % 3 == 0 ? -EINTR : whole(fd, destination, std::min<uint64_t>(length, 33'333), offset);
  }));
  EXPECT_TRUE(is_cast(memory, how, file, header, dtype::F32));
}

TEST_F(host_cast_of_a_file, says_where_it_could_not_be_read) {
  const auto whole = reader_of(file, 50'000);
  const auto fault = put([&](int fd, std::byte* destination, uint64_t length, uint64_t offset) -> int64_t {
    return offset > 200'000 ? -EIO : whole(fd, destination, length, offset);
  });
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->os_error, EIO);
  EXPECT_GT(fault->offset_bytes, 200'000U);
  EXPECT_LE(fault->offset_bytes, 250'000U);
}

TEST_F(host_cast_of_a_file, an_early_end_is_no_success) {
  auto torn = file;
  torn.resize(400'001);
  const auto fault = put(reader_of(torn, ~uint64_t{0}));
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->os_error, 0);
  EXPECT_EQ(fault->offset_bytes, 400'001U);
}

TEST(host_cast, a_descriptor_that_is_none_is_a_fault) {
  const host_cast how{header_of({{dtype::F16, 1}}, 8), dtype::F32};
  std::vector<std::byte> memory(how.total_bytes());
  const auto fault = how.put_from_file(-1, {8, 2, read_path::buffered, true}, memory.data());
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->os_error, EBADF);
}

}  // namespace
