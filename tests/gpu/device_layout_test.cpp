// Layouts and upload plans: applied to a simulated device, they bring each byte of each tensor to its place, once.
#include "gpu/device_layout.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <fstream>
#include <numeric>
#include <random>

#include <nlohmann/json.hpp>

#include "io/read_plan.hpp"

using namespace longshore;

namespace {

constexpr uint64_t chunk_bytes = 8 << 20;
constexpr uint64_t small_bytes = upload_options{}.small_bytes;

safetensors_header header_of(const std::vector<uint64_t>& sizes, uint64_t data_begin_bytes) {
  safetensors_header header{.data_begin_bytes = data_begin_bytes, .tensors = {}, .metadata = {}};
  uint64_t at = 0;
  for (const auto size : sizes) {
    const auto name = "t" + std::to_string(header.tensors.size());
    header.tensors.push_back({name, dtype::U8, {size}, at, at + size});
    at += size;
  }
  return header;
}

uint64_t file_bytes(const safetensors_header& header) {
  return header.data_begin_bytes + (header.tensors.empty() ? 0 : header.tensors.back().end_bytes);
}

std::vector<chunk> chunks_of(const safetensors_header& header, uint64_t bytes, uint64_t alignment_bytes = 4096) {
  plan_options options{.chunk_bytes = bytes, .alignment_bytes = alignment_bytes};
  return plan_reads(header.data_begin_bytes, file_bytes(header), options, [](auto, auto) { return uint64_t{0}; });
}

/// The device's memory, and how often each byte of it was written.
struct simulated_device {
  std::vector<uint8_t> bytes;
  std::vector<uint8_t> writes;

  explicit simulated_device(uint64_t size_bytes) : bytes(size_bytes), writes(size_bytes) {}

  void write(uint64_t destination, const uint8_t* source, uint64_t length_bytes) {
    RC_ASSERT(destination + length_bytes <= bytes.size());
    for (uint64_t i = 0; i < length_bytes; ++i) {
      bytes[destination + i] = source[i];
      ++writes[destination + i];
    }
  }

  void apply(const upload_plan& plan, const uint8_t* chunk_data, uint64_t chunk_length_bytes, uint64_t base) {
    for (const auto& copy : plan.direct) {
      RC_ASSERT(copy.length_bytes > 0u && copy.chunk_offset_bytes + copy.length_bytes <= chunk_length_bytes);
      write(copy.destination - base, chunk_data + copy.chunk_offset_bytes, copy.length_bytes);
    }
    for (const auto& run : plan.packed) {
      RC_ASSERT(run.chunk_offset_bytes + run.length_bytes <= chunk_length_bytes);
      RC_ASSERT(run.length_bytes <= plan.scratch_bytes());
      RC_ASSERT(run.pieces.size() >= 2u);
      uint64_t next = 0;
      for (const auto& piece : run.pieces) {
        RC_ASSERT(piece.length_bytes > 0u && piece.source_offset_bytes == next);
        next += piece.length_bytes;
        write(piece.destination - base, chunk_data + run.chunk_offset_bytes + piece.source_offset_bytes,
              piece.length_bytes);
      }
      RC_ASSERT(next == run.length_bytes);
    }
  }
};

/// Sizes as files have them, scaled down: nothing, tiny, whole multiples of the alignment, longer than several chunks.
rc::Gen<std::vector<uint64_t>> tensor_sizes() {
  return rc::gen::container<std::vector<uint64_t>>(
      rc::gen::oneOf(rc::gen::just<uint64_t>(0), rc::gen::inRange<uint64_t>(1, 300),
                     rc::gen::map(rc::gen::inRange<uint64_t>(1, 12), [](uint64_t n) { return n * 256; }),
                     rc::gen::inRange<uint64_t>(1000, 40'000)));
}

RC_GTEST_PROP(device_layout, all_chunks_in_any_order_bring_each_byte_once, ()) {
  const auto header = header_of(*tensor_sizes(), *rc::gen::inRange<uint64_t>(8, 20'000));
  const auto base = 256 * *rc::gen::inRange<uint64_t>(0, 1 << 20);
  const upload_options options{.small_bytes = *rc::gen::inRange<uint64_t>(0, 5000)};
  const auto salt = *rc::gen::arbitrary<uint64_t>();
  std::vector<uint8_t> file(file_bytes(header));
  for (size_t i = 0; i < file.size(); ++i)
    file[i] = static_cast<uint8_t>((i + salt) * 0x9e3779b97f4a7c15 >> 56);

  const device_layout layout{header};
  simulated_device device{layout.total_bytes()};
  auto chunks = chunks_of(header, 512 * *rc::gen::inRange<uint64_t>(1, 40), 512);
  std::shuffle(chunks.begin(), chunks.end(), std::mt19937_64{salt});
  for (const auto& c : chunks) {
    const auto plan = layout.plan(c.offset_bytes, c.length_bytes, base, options);
    device.apply(plan, file.data() + c.offset_bytes, c.length_bytes, base);
  }

  uint64_t written_bytes = 0, free_from = 0;
  for (size_t i = 0; i < header.tensors.size(); ++i) {
    const auto& tensor = header.tensors[i];
    const auto at = layout.offset_bytes(i);
    RC_ASSERT(at % device::alignment_bytes == 0u && at >= free_from);
    RC_ASSERT(at + tensor.size_bytes() <= layout.total_bytes());
    RC_ASSERT(std::equal(device.bytes.begin() + at, device.bytes.begin() + at + tensor.size_bytes(),
                         file.begin() + header.data_begin_bytes + tensor.begin_bytes));
    RC_ASSERT(std::all_of(device.writes.begin() + at, device.writes.begin() + at + tensor.size_bytes(),
                          [](auto writes) { return writes == 1; }));
    free_from = at + tensor.size_bytes();
    written_bytes += tensor.size_bytes();
  }
  RC_ASSERT(std::accumulate(device.writes.begin(), device.writes.end(), uint64_t{0}) == written_bytes);
}

struct tally {
  uint64_t chunks = 0, copies = 0, packed_runs = 0, scratch_bytes = 0, most_copies_of_a_chunk = 0;
};

/// Plans all chunks, and sees that nothing of a large tensor goes through scratch.
tally plan_all(const safetensors_header& header) {
  const device_layout layout{header};
  tally sum;
  std::vector<uint64_t> offsets;
  for (size_t i = 0; i < layout.tensors(); ++i)
    offsets.push_back(layout.offset_bytes(i));
  for (const auto& c : chunks_of(header, chunk_bytes)) {
    const auto plan = layout.plan(c.offset_bytes, c.length_bytes, 0);
    ++sum.chunks;
    sum.copies += plan.copies();
    sum.packed_runs += plan.packed.size();
    sum.scratch_bytes = std::max(sum.scratch_bytes, plan.scratch_bytes());
    sum.most_copies_of_a_chunk = std::max(sum.most_copies_of_a_chunk, plan.copies());
    for (const auto& run : plan.packed)
      for (const auto& piece : run.pieces) {
        const auto owner = std::upper_bound(offsets.begin(), offsets.end(), piece.destination) - offsets.begin() - 1;
        EXPECT_LT(header.tensors[owner].size_bytes(), small_bytes);
      }
  }
  return sum;
}

TEST(device_layout, twenty_thousand_tiny_tensors_are_one_copy_a_chunk) {
  // 4,096 bytes touch on the device and need no scatter; 4,100 do not touch.
  for (const uint64_t size : {4096u, 4100u}) {
    const auto sum = plan_all(header_of(std::vector<uint64_t>(20'000, size), 1'400'000));
    EXPECT_EQ(sum.copies, sum.chunks);
    EXPECT_LE(sum.copies, 11u);
    EXPECT_EQ(sum.packed_runs, size == 4096 ? 0u : sum.chunks);
  }
}

TEST(device_layout, giant_tensors_go_directly_wherever_chunks_cut_them) {
  // The norms between them shift each giant, so that chunks cut short pieces off some.
  std::vector<uint64_t> sizes;
  for (int i = 0; i < 60; ++i)
    sizes.insert(sizes.end(), {uint64_t{48} << 20, 100, 36, 300});
  const auto sum = plan_all(header_of(sizes, 5000));
  EXPECT_EQ(sum.packed_runs, 60u) << "the norms' three";
  EXPECT_LE(sum.copies, sum.chunks + uint64_t{3} * 60);
  EXPECT_LT(sum.scratch_bytes, 1000u);
}

TEST(device_layout, a_short_piece_of_a_giant_is_not_packed_with_its_neighbours) {
  const auto header = header_of({100, 100, 10 << 20}, chunk_bytes - 300);
  const device_layout layout{header};
  const auto plan = layout.plan(0, chunk_bytes, 0);
  ASSERT_EQ(plan.packed.size(), 1u);
  EXPECT_EQ(plan.packed[0].length_bytes, 200u);
  EXPECT_EQ(plan.direct, (std::vector<direct_copy>{{chunk_bytes - 100, 512, 100}}));
}

TEST(device_layout, a_worst_mix_stays_within_the_bound) {
  // Large and small in turn, none touching: as many pieces as there can be.
  std::vector<uint64_t> sizes;
  for (int i = 0; i < 2000; ++i)
    sizes.insert(sizes.end(), {small_bytes + 1, 1, 1});
  EXPECT_LE(plan_all(header_of(sizes, 8)).most_copies_of_a_chunk, 2 * (chunk_bytes / small_bytes) + 5);
}

/// A header of the tensors that a layout file of the demo models names.
safetensors_header header_of_layout(const std::string& name) {
  std::ifstream file{std::string{LONGSHORE_SOURCE_DIR} + "/app/layouts/" + name};
  std::vector<uint64_t> sizes;
  const auto document = nlohmann::json::parse(file);
  for (const auto& [key, tensor] : document.at("tensors").items()) {
    uint64_t size = bits(dtype_from_name(tensor.at("dtype").get<std::string>()).value()) / 8;
    for (const auto& extent : tensor.at("shape"))
      size *= extent.get<uint64_t>();
    sizes.push_back(size);
  }
  return header_of(sizes, 300'000);
}

TEST(device_layout, a_real_mix_has_few_copies) {
  const auto header = header_of_layout("sdxl.json");
  ASSERT_GT(header.tensors.size(), 2000u);
  const auto sum = plan_all(header);
  EXPECT_LE(sum.copies, header.tensors.size() + sum.chunks) << "what a copy for each tensor and each cut would be";
  RecordProperty("copies", std::to_string(sum.copies));
  EXPECT_LE(sum.copies, 3 * sum.chunks);
}

TEST(device_layout, a_mix_like_flux_has_few_copies) {
  // 8 double and 48 single blocks, BF16: giants of 6144 columns, norms of 128 elements.
  std::vector<uint64_t> sizes;
  for (int i = 0; i < 8; ++i)
    for (const uint64_t rows : {6144, 18432, 36864, 6144 * 3})
      sizes.insert(sizes.end(), {256, 256, rows * 6144 * 2});
  for (int i = 0; i < 48; ++i)
    sizes.insert(sizes.end(), {uint64_t{6144} * 24576 * 2, uint64_t{55296} * 6144 * 2, 256, 256});
  const auto sum = plan_all(header_of(sizes, 30'000));
  EXPECT_EQ(sum.copies, sum.chunks) << "all are multiples of the alignment, so each chunk is one piece";
  EXPECT_EQ(sum.scratch_bytes, 0u);
}

TEST(device_layout, bytes_of_no_tensor_are_left_out) {
  const auto header = header_of({0, 10, 0}, 100);
  const device_layout layout{header};
  EXPECT_EQ(layout.total_bytes(), 256u);
  EXPECT_EQ(layout.plan(0, 100, 0).copies(), 0u) << "the header";
  EXPECT_EQ(layout.plan(110, 5000, 0).copies(), 0u) << "behind the end";
  EXPECT_EQ(layout.plan(0, 4096, 0).direct, (std::vector<direct_copy>{{100, 0, 10}}));
  EXPECT_EQ(layout.plan(103, 3, 4096).direct, (std::vector<direct_copy>{{0, 4099, 3}}));
}

TEST(device_layout, a_file_without_tensors_takes_nothing) {
  const device_layout layout{header_of({}, 100)};
  EXPECT_EQ(layout.total_bytes(), 0u);
  EXPECT_EQ(layout.plan(0, 4096, 0).copies(), 0u);
}

}  // namespace
