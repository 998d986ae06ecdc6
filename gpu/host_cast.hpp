#pragma once
/// A file in host memory with its float tensors of another type: where each tensor lies there, and how a piece of the
/// file gets there.
///
/// The layout is that of a device (gpu/device_layout.hpp): tensors in file order, each at a multiple of 256 bytes, and
/// an element that a piece's end cuts is the piece's that it begins in. Owns two tables of the tensors. Immutable, so
/// safe from any thread; pieces that do not overlap may be put at the same time. Limits: a piece that is read here
/// passes through a block on the stack that fits the CPU's caches, so nothing is read from memory twice. Failure: of
/// reading alone, with errno and the place.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "gpu/device_layout.hpp"
#include "io/read_plan.hpp"
#include "io/safetensors.hpp"

namespace longshore {

/// Reads a file as `pread` does: bytes, 0 at the file's end, or a negative errno.
using piece_reader = std::function<int64_t(int fd, std::byte* destination, uint64_t length_bytes, uint64_t offset)>;

int64_t read_piece(int fd, std::byte* destination, uint64_t length_bytes, uint64_t offset_bytes);

struct read_fault {
  int os_error = 0;  ///< 0: the file ends early
  uint64_t offset_bytes = 0;
};

class host_cast {
public:
  host_cast(const safetensors_header& in_file, dtype to);

  /// As the users of the memory see it: types and sizes there, and offsets from the memory's begin.
  const std::shared_ptr<const safetensors_header>& header() const { return header_; }
  uint64_t total_bytes() const { return layout_.total_bytes(); }

  /// From the memory's begin, where what begins at this offset of the file, or first behind it, goes.
  uint64_t place_of(uint64_t file_offset_bytes) const { return layout_.place_of(file_offset_bytes); }

  /// Puts the elements that begin in the piece's own bytes where they belong in `memory`.
  void put(const std::byte* bytes, const chunk& piece, std::byte* memory) const;

  /// The same for bytes that are still in the file: best in its page cache.
  std::optional<read_fault> put_from_file(int fd, const chunk& piece, std::byte* memory,
                                          const piece_reader& read = read_piece) const;

private:
  device_layout layout_;
  std::shared_ptr<const safetensors_header> header_;
};

}  // namespace longshore
