#include "gpu/device_layout.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace longshore {
namespace {

uint64_t aligned(uint64_t bytes) {
  constexpr auto alignment = device::alignment_bytes;
  return (bytes + alignment - 1) / alignment * alignment;
}

/// Takes pieces in file order, without gaps between them, and decides how each travels once its neighbours are known.
class plan_builder {
public:
  explicit plan_builder(uint64_t small_bytes) : small_bytes_(small_bytes) {}

  /// `is_large`: of a tensor that never goes through scratch.
  void add(const direct_copy& piece, bool is_large) {
    if (piece_.length_bytes > 0 && piece_.destination + piece_.length_bytes == piece.destination) {
      piece_.length_bytes += piece.length_bytes;
      is_large_ = is_large_ || is_large;
      return;
    }
    end_piece();
    piece_ = piece;
    is_large_ = is_large;
  }

  upload_plan finish() {
    end_piece();
    end_run();
    return std::move(plan_);
  }

private:
  void end_piece() {
    if (piece_.length_bytes == 0)
      return;
    if (is_large_ || piece_.length_bytes >= small_bytes_) {
      end_run();
      plan_.direct.push_back(piece_);
      return;
    }
    if (run_.pieces.empty())
      run_.chunk_offset_bytes = piece_.chunk_offset_bytes;
    run_.pieces.push_back({run_.length_bytes, piece_.destination, piece_.length_bytes});
    run_.length_bytes += piece_.length_bytes;
  }

  /// A run of a single piece is one copy either way, and without a scatter when it goes directly.
  void end_run() {
    if (run_.pieces.size() == 1)
      plan_.direct.push_back({run_.chunk_offset_bytes, run_.pieces.front().destination, run_.length_bytes});
    else if (!run_.pieces.empty())
      plan_.packed.push_back(std::move(run_));
    run_ = {};
  }

  const uint64_t small_bytes_;
  upload_plan plan_;
  packed_run run_;
  direct_copy piece_;
  bool is_large_ = false;
};

}  // namespace

uint64_t upload_plan::scratch_bytes() const {
  uint64_t longest_bytes = 0;
  for (const auto& run : packed)
    longest_bytes = std::max(longest_bytes, run.length_bytes);
  return longest_bytes;
}

device_layout::device_layout(const safetensors_header& header) {
  places_.reserve(header.tensors.size());
  uint64_t file_bytes = 0;
  for (const auto& tensor : header.tensors) {
    assert(tensor.begin_bytes == file_bytes);  // the format has no holes, and plans count on that
    places_.push_back({header.data_begin_bytes + tensor.begin_bytes, tensor.size_bytes(), total_bytes_});
    file_bytes = tensor.end_bytes;
    total_bytes_ = aligned(total_bytes_ + tensor.size_bytes());
  }
}

upload_plan device_layout::plan(uint64_t offset_bytes, uint64_t length_bytes, device_address base,
                                upload_options options) const {
  const auto end_bytes = offset_bytes + length_bytes;
  plan_builder builder{options.small_bytes};
  auto at = std::partition_point(places_.begin(), places_.end(),
                                 [=](const place& p) { return p.file_offset_bytes + p.length_bytes <= offset_bytes; });
  for (; at != places_.end() && at->file_offset_bytes < end_bytes; ++at) {
    if (at->length_bytes == 0)
      continue;
    const auto begin = std::max(at->file_offset_bytes, offset_bytes);
    const auto end = std::min(at->file_offset_bytes + at->length_bytes, end_bytes);
    const auto destination = base + at->device_offset_bytes + (begin - at->file_offset_bytes);
    builder.add({begin - offset_bytes, destination, end - begin}, at->length_bytes >= options.small_bytes);
  }
  return builder.finish();
}

}  // namespace longshore
