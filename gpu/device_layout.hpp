#pragma once
/// Where a file's tensors lie on the device, and by which copies a chunk of the file gets there: plans are data.
///
/// On the device tensors stand in file order, each at a multiple of `device::alignment_bytes`, in one allocation of
/// `total_bytes`. Since files leave no such gaps, a chunk becomes: direct copies, for what is large; and packed runs,
/// for neighbours that are small: one copy of the run into scratch memory on the device, and one scatter from there.
/// Neighbours that touch on the device as they do in the file are one piece. A layout can be of some of a file's
/// tensors: then what lies between them in the file goes nowhere.
/// Tensors of a float type can be of another one there: their bytes go to scratch memory too, and are cast from there
/// to their places. An element that a chunk's end cuts is the chunk's that it begins in, and so such chunks overlap.
/// Limits: of a chunk of n bytes no more than 2 * (n / small_bytes) + 5 copies. Of what is not cast, no byte of a
/// tensor of `small_bytes` or more goes through scratch, not even where a chunk cuts a short piece off it. Owns a table
/// of 32 bytes a tensor. Pure; immutable, so safe from any thread; cannot fail.

#include <cstdint>
#include <vector>

#include "gpu/device.hpp"
#include "io/cast_rule.hpp"
#include "io/safetensors.hpp"

namespace longshore {

struct upload_options {
  uint64_t small_bytes =
      64 << 10;  ///< a tensor, or neighbours that are one piece, from this size on is copied directly
};

struct direct_copy {
  uint64_t chunk_offset_bytes = 0;
  device_address destination = 0;
  uint64_t length_bytes = 0;

  friend bool operator==(const direct_copy&, const direct_copy&) = default;
};

/// Elements in a run, from its begin, that are of another type on the device.
struct cast_piece {
  uint64_t source_offset_bytes = 0;
  dtype from{};
  device_address destination = 0;
  dtype to{};
  uint64_t elements = 0;

  friend bool operator==(const cast_piece&, const cast_piece&) = default;
};

struct packed_run {
  uint64_t chunk_offset_bytes = 0;
  uint64_t length_bytes = 0;
  std::vector<scatter_piece> pieces{};  ///< their sources count from the run's begin
  std::vector<cast_piece> casts{};
};

struct upload_plan {
  std::vector<direct_copy> direct;  ///< in the chunk's order
  std::vector<packed_run> packed;   ///< in the chunk's order

  uint64_t copies() const { return direct.size() + packed.size(); }
  uint64_t bytes() const;          ///< of the chunk that are copied
  uint64_t scratch_bytes() const;  ///< of the longest run: runs of one stream can follow each other in one scratch
};

/// The header as the device has the tensors, cast by the rule.
safetensors_header header_on_device(const safetensors_header& header, const cast_rule& rule);

class device_layout {
public:
  /// `rule`: what becomes of float tensors on the device. Its tensors by their dtype there: `on_device`.
  explicit device_layout(const safetensors_header& header, const cast_rule& rule = {});

  uint64_t total_bytes() const { return total_bytes_; }  ///< a multiple of the alignment
  size_t tensors() const { return places_.size(); }

  /// From the allocation's begin, of the tensor at this index in the header. A tensor without bytes shares its place.
  uint64_t offset_bytes(size_t index) const { return places_[index].device_offset_bytes; }

  /// From the allocation's begin, where the first byte or element goes that begins at this offset of the file or behind
  /// it; behind the last, the total.
  uint64_t place_of(uint64_t file_offset_bytes) const;

  /// How a chunk, read from [offset, offset + length) of the file, goes to the allocation at `base` (0: destinations
  /// are offsets). Of the last `overlap_bytes` there is only what belongs to an element that begins before them. Costs
  /// a binary search and the tensors that the chunk touches. The file's other bytes are left out.
  upload_plan plan(uint64_t offset_bytes, uint64_t length_bytes, device_address base, upload_options options = {},
                   uint64_t overlap_bytes = 0) const;

private:
  struct place {
    uint64_t file_offset_bytes;
    uint64_t length_bytes;
    uint64_t device_offset_bytes;
    dtype in_file;
    dtype on_device;
  };

  std::vector<place>::const_iterator first_after(uint64_t file_offset_bytes) const;

  std::vector<place> places_;
  uint64_t total_bytes_ = 0;
};

}  // namespace longshore
