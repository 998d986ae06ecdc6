// Layouts of some of a file's tensors: against a reference that goes over the file byte by byte.
#include <algorithm>
#include <random>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "gpu/device_layout.hpp"
#include "io/read_plan.hpp"

using namespace longshore;

namespace {

/// Of each byte of the file where it belongs on the device; -1: nowhere.
std::vector<int64_t> places_of(const safetensors_header& part, const device_layout& layout, uint64_t file_bytes) {
  std::vector<int64_t> places(file_bytes, -1);
  for (size_t i = 0; i < part.tensors.size(); ++i)
    for (uint64_t b = 0; b < part.tensors[i].size_bytes(); ++b)
      places[part.data_begin_bytes + part.tensors[i].begin_bytes + b] =
          static_cast<int64_t>(layout.offset_bytes(i) + b);
  return places;
}

/// Of each byte of the device which byte of the file was written there, by one plan after the other; -1: none.
void note(std::vector<int64_t>& device, uint64_t destination, uint64_t file_offset, uint64_t length_bytes) {
  for (uint64_t b = 0; b < length_bytes; ++b) {
    RC_ASSERT(destination + b < device.size());
    RC_ASSERT(device[destination + b] == -1);
    device[destination + b] = static_cast<int64_t>(file_offset + b);
  }
}

void apply(std::vector<int64_t>& device, const upload_plan& plan, const chunk& from) {
  for (const auto& copy : plan.direct)
    note(device, copy.destination, from.offset_bytes + copy.chunk_offset_bytes, copy.length_bytes);
  for (const auto& run : plan.packed) {
    RC_ASSERT(run.chunk_offset_bytes + run.length_bytes <= from.length_bytes);
    for (const auto& piece : run.pieces) {
      RC_ASSERT(piece.source_offset_bytes + piece.length_bytes <= run.length_bytes);
      note(device, piece.destination, from.offset_bytes + run.chunk_offset_bytes + piece.source_offset_bytes,
           piece.length_bytes);
    }
  }
}

RC_GTEST_PROP(device_layout_with_holes, takes_its_own_bytes_and_no_other, ()) {
  safetensors_header part{.data_begin_bytes = *rc::gen::inRange<uint64_t>(8, 3000), .tensors = {}, .metadata = {}};
  uint64_t at = 0;
  for (auto n = *rc::gen::inRange(1, 30); n > 0; --n) {
    const auto bytes = *rc::gen::oneOf(rc::gen::just<uint64_t>(0), rc::gen::inRange<uint64_t>(1, 300),
                                       rc::gen::just<uint64_t>(512), rc::gen::inRange<uint64_t>(1000, 9000));
    if (*rc::gen::inRange(0, 3) > 0)
      part.tensors.push_back({"t" + std::to_string(n), dtype::U8, {bytes}, at, at + bytes});
    at += bytes;
  }
  const auto file_bytes = part.data_begin_bytes + at;
  const device_layout layout{part};
  const upload_options options{.small_bytes = *rc::gen::inRange<uint64_t>(0, 3000)};
  const plan_options reading{.chunk_bytes = 512 * *rc::gen::inRange<uint64_t>(1, 20), .alignment_bytes = 512};
  std::vector<int64_t> device(layout.total_bytes(), -1);
  for (const auto& c : plan_reads(part.data_begin_bytes, file_bytes, reading, [](auto, auto) { return uint64_t{0}; }))
    apply(device, layout.plan(c.offset_bytes, c.length_bytes, 0, options), c);

  std::vector<int64_t> right(layout.total_bytes(), -1);
  const auto places = places_of(part, layout, file_bytes);
  for (size_t b = 0; b < places.size(); ++b)
    if (places[b] >= 0)
      right[static_cast<size_t>(places[b])] = static_cast<int64_t>(b);
  RC_ASSERT(device == right);
}

}  // namespace
