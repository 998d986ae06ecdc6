#include "gpu/host_cast.hpp"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include <unistd.h>

#include "gpu/cast.hpp"

namespace longshore {
namespace {

constexpr uint64_t block_bytes = 128 << 10;
constexpr uint64_t longest_element_bytes = 8;

std::shared_ptr<const safetensors_header> header_in_memory(const safetensors_header& in_file, dtype to,
                                                           const device_layout& layout) {
  auto there = std::make_shared<safetensors_header>(header_on_device(in_file, to));
  there->data_begin_bytes = 0;
  for (size_t i = 0; i < there->tensors.size(); ++i) {
    auto& tensor = there->tensors[i];
    const auto size_bytes = tensor.size_bytes();
    tensor.begin_bytes = layout.offset_bytes(i);
    tensor.end_bytes = tensor.begin_bytes + size_bytes;
  }
  return there;
}

std::byte* pointer_to(device_address address) { return reinterpret_cast<std::byte*>(address); }

std::optional<read_fault> read_all(const piece_reader& read, int fd, std::byte* destination, uint64_t length_bytes,
                                   uint64_t offset_bytes) {
  for (uint64_t done = 0; done < length_bytes;) {
    const auto n = read(fd, destination + done, length_bytes - done, offset_bytes + done);
    if (n == -EINTR)
      continue;
    if (n <= 0)
      return read_fault{static_cast<int>(-n), offset_bytes + done};
    done += static_cast<uint64_t>(n);
  }
  return std::nullopt;
}

}  // namespace

int64_t read_piece(int fd, std::byte* destination, uint64_t length_bytes, uint64_t offset_bytes) {
  const auto n = ::pread(fd, destination, length_bytes, static_cast<off_t>(offset_bytes));
  return n < 0 ? -errno : n;
}

host_cast::host_cast(const safetensors_header& in_file, dtype to)
    : layout_(in_file, to), header_(header_in_memory(in_file, to, layout_)) {}

void host_cast::put(const std::byte* bytes, const chunk& piece, std::byte* memory) const {
  const auto plan = layout_.plan(piece.offset_bytes, piece.length_bytes, reinterpret_cast<device_address>(memory),
                                 {.small_bytes = 0}, piece.overlap_bytes);
  for (const auto& copy : plan.direct)
    std::memcpy(pointer_to(copy.destination), bytes + copy.chunk_offset_bytes, copy.length_bytes);
  for (const auto& run : plan.packed) {
    assert(run.pieces.empty());  // nothing is small enough to be packed
    for (const auto& cast : run.casts)
      cast_elements(bytes + run.chunk_offset_bytes + cast.source_offset_bytes, cast.from, pointer_to(cast.destination),
                    cast.to, cast.elements);
  }
}

std::optional<read_fault> host_cast::put_from_file(int fd, const chunk& piece, std::byte* memory,
                                                   const piece_reader& read) const {
  alignas(64) std::byte block[block_bytes + longest_element_bytes];
  const auto end_bytes = piece.offset_bytes + piece.length_bytes, own_end_bytes = end_bytes - piece.overlap_bytes;
  for (auto at = piece.offset_bytes; at < own_end_bytes; at += block_bytes) {
    const auto own_bytes = std::min(block_bytes, own_end_bytes - at);
    const auto length_bytes = std::min(own_bytes + longest_element_bytes, end_bytes - at);
    if (auto fault = read_all(read, fd, block, length_bytes, at))
      return fault;
    put(block, {at, length_bytes, piece.path, piece.was_resident, length_bytes - own_bytes}, memory);
  }
  return std::nullopt;
}

}  // namespace longshore
