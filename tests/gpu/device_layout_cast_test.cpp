// Upload plans that cast: wherever chunks cut the file, each element arrives once, as the CPU casts it.
#include <algorithm>
#include <cstring>
#include <random>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "gpu/cast.hpp"
#include "gpu/device_layout.hpp"
#include "io/read_plan.hpp"

using namespace longshore;

namespace {

constexpr uint64_t block_bytes = 512;

safetensors_header any_header() {
  const std::vector types{dtype::U8, dtype::F8_E5M2, dtype::F16, dtype::BF16, dtype::F32, dtype::I64};
  safetensors_header header{.data_begin_bytes = *rc::gen::inRange<uint64_t>(8, 3000), .tensors = {}, .metadata = {}};
  uint64_t at = 0;
  for (auto n = *rc::gen::inRange(1, 20); n > 0; --n) {
    const auto type = *rc::gen::elementOf(types);
    const auto elements = *rc::gen::oneOf(rc::gen::inRange<uint64_t>(0, 40), rc::gen::inRange<uint64_t>(500, 9000));
    const auto end = at + elements * bits(type) / 8;
    header.tensors.push_back(tensor_info{"t" + std::to_string(n), type, {elements}, at, end});
    at = end;
  }
  return header;
}

/// The device's memory; counts how often each byte is written.
struct simulated_device {
  explicit simulated_device(uint64_t size_bytes) : bytes(size_bytes), writes(size_bytes) {}

  void write(uint64_t destination, const std::byte* source, uint64_t length_bytes) {
    RC_ASSERT(destination + length_bytes <= bytes.size());
    std::copy_n(source, length_bytes, bytes.begin() + static_cast<std::ptrdiff_t>(destination));
    for (uint64_t i = 0; i < length_bytes; ++i)
      ++writes[destination + i];
  }

  void apply(const upload_plan& plan, const std::byte* chunk, uint64_t chunk_length_bytes) {
    for (const auto& copy : plan.direct)
      write(copy.destination, chunk + copy.chunk_offset_bytes, copy.length_bytes);
    for (const auto& run : plan.packed) {
      RC_ASSERT(run.chunk_offset_bytes + run.length_bytes <= chunk_length_bytes);
      const auto* scratch = chunk + run.chunk_offset_bytes;
      for (const auto& piece : run.pieces)
        write(piece.destination, scratch + piece.source_offset_bytes, piece.length_bytes);
      for (const auto& piece : run.casts) {
        RC_ASSERT(piece.source_offset_bytes + piece.elements * bits(piece.from) / 8 <= run.length_bytes);
        std::vector<std::byte> cast(piece.elements * bits(piece.to) / 8);
        cast_elements(scratch + piece.source_offset_bytes, piece.from, cast.data(), piece.to, piece.elements);
        write(piece.destination, cast.data(), cast.size());
      }
    }
  }

  std::vector<std::byte> bytes;
  std::vector<uint8_t> writes;
};

std::vector<std::byte> cast_of(const std::byte* data, const tensor_info& tensor, dtype to) {
  std::vector<std::byte> result(data, data + tensor.size_bytes());
  if (tensor.type == to)
    return result;
  const auto elements = tensor.size_bytes() * 8 / bits(tensor.type);
  result.resize(elements * bits(to) / 8);
  cast_elements(data, tensor.type, result.data(), to, elements);
  return result;
}

RC_GTEST_PROP(device_layout_cast, all_chunks_in_any_order_bring_each_element_once, ()) {
  const auto header = any_header();
  const auto to = *rc::gen::elementOf(std::vector{dtype::F32, dtype::F16, dtype::F8_E4M3});
  const auto end_bytes = header.data_begin_bytes + header.tensors.back().end_bytes;
  std::mt19937_64 random{*rc::gen::arbitrary<uint64_t>()};
  std::vector<std::byte> file(end_bytes);
  for (auto& byte : file)
    byte = static_cast<std::byte>(random());

  const device_layout layout{header, to};
  const auto there = header_on_device(header, to);
  simulated_device device{layout.total_bytes()};
  auto chunks = plan_reads(header.data_begin_bytes, end_bytes,
                           {.chunk_bytes = block_bytes * *rc::gen::inRange<uint64_t>(1, 30),
                            .alignment_bytes = block_bytes,
                            .overlap_bytes = block_bytes},
                           [](auto, auto) { return uint64_t{0}; });
  std::shuffle(chunks.begin(), chunks.end(), random);
  const upload_options options{.small_bytes = *rc::gen::inRange<uint64_t>(0, 5000)};
  for (const auto& c : chunks)
    device.apply(layout.plan(c.offset_bytes, c.length_bytes, 0, options, c.overlap_bytes), file.data() + c.offset_bytes,
                 c.length_bytes);

  for (size_t i = 0; i < header.tensors.size(); ++i) {
    const auto& tensor = header.tensors[i];
    const auto right =
        cast_of(file.data() + header.data_begin_bytes + tensor.begin_bytes, tensor, there.tensors[i].type);
    RC_ASSERT(right.size() == there.tensors[i].size_bytes());
    const auto at = static_cast<std::ptrdiff_t>(layout.offset_bytes(i));
    RC_ASSERT(std::equal(right.begin(), right.end(), device.bytes.begin() + at));
    RC_ASSERT(std::all_of(device.writes.begin() + at, device.writes.begin() + at + std::ssize(right),
                          [](auto writes) { return writes == 1; }));
  }
}

TEST(device_layout_cast, only_float_tensors_change_their_type) {
  const safetensors_header header{.data_begin_bytes = 8,
                                  .tensors = {{"i", dtype::I64, {2}, 0, 16}, {"f", dtype::F32, {3}, 16, 28}},
                                  .metadata = {}};
  const auto there = header_on_device(header, dtype::F8_E5M2);
  EXPECT_EQ(there.tensors[0], header.tensors[0]);
  EXPECT_EQ(there.tensors[1], (tensor_info{"f", dtype::F8_E5M2, {3}, 16, 19}));
  EXPECT_EQ(header_on_device(header, {}), header);
}

}  // namespace
