#include "gpu/device_layout.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

#include "gpu/cast.hpp"

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
    if (piece_.length_bytes > 0 && piece_.destination + piece_.length_bytes == piece.destination &&
        piece_.chunk_offset_bytes + piece_.length_bytes == piece.chunk_offset_bytes) {
      piece_.length_bytes += piece.length_bytes;
      is_large_ = is_large_ || is_large;
      return;
    }
    end_piece();
    piece_ = piece;
    is_large_ = is_large;
  }

  void add_cast(uint64_t chunk_offset_bytes, uint64_t length_bytes, cast_piece piece) {
    end_piece();
    begin_run(chunk_offset_bytes);
    piece.source_offset_bytes = run_.length_bytes;
    run_.casts.push_back(piece);
    run_.length_bytes += length_bytes;
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
      plan_.direct.push_back(std::exchange(piece_, {}));
      return;
    }
    begin_run(piece_.chunk_offset_bytes);
    run_.pieces.push_back({run_.length_bytes, piece_.destination, piece_.length_bytes});
    run_.length_bytes += piece_.length_bytes;
    piece_ = {};
  }

  /// A run is one copy, so it ends where bytes that belong to nobody here lie between.
  void begin_run(uint64_t chunk_offset_bytes) {
    if (run_.chunk_offset_bytes + run_.length_bytes != chunk_offset_bytes)
      end_run();
    if (run_.length_bytes == 0)
      run_.chunk_offset_bytes = chunk_offset_bytes;
  }

  /// A run of a single piece is one copy either way, and without a scatter when it goes directly.
  void end_run() {
    if (run_.pieces.size() == 1 && run_.casts.empty())
      plan_.direct.push_back({run_.chunk_offset_bytes, run_.pieces.front().destination, run_.length_bytes});
    else if (run_.length_bytes > 0)
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

uint64_t upload_plan::bytes() const {
  uint64_t sum = 0;
  for (const auto& copy : direct)
    sum += copy.length_bytes;
  for (const auto& run : packed)
    sum += run.length_bytes;
  return sum;
}

uint64_t upload_plan::scratch_bytes() const {
  uint64_t longest_bytes = 0;
  for (const auto& run : packed)
    longest_bytes = std::max(longest_bytes, run.length_bytes);
  return longest_bytes;
}

safetensors_header header_on_device(const safetensors_header& header, const cast_rule& rule) {
  auto cast = header;
  uint64_t end_bytes = 0;
  for (auto& tensor : cast.tensors) {
    auto size_bytes = tensor.size_bytes();
    if (const auto there = rule.type_of(tensor); there != tensor.type) {
      size_bytes = size_bytes / (bits(tensor.type) / 8) * (bits(there) / 8);
      tensor.type = there;
    }
    tensor.begin_bytes = end_bytes;
    end_bytes = tensor.end_bytes = end_bytes + size_bytes;
  }
  return cast;
}

device_layout::device_layout(const safetensors_header& header, const cast_rule& rule) {
  const auto there = header_on_device(header, rule);
  places_.reserve(header.tensors.size());
  uint64_t file_bytes = 0;
  for (size_t i = 0; i < header.tensors.size(); ++i) {
    const auto& tensor = header.tensors[i];
    assert(tensor.begin_bytes >= file_bytes);  // plans count on the file's order
    places_.push_back({header.data_begin_bytes + tensor.begin_bytes, tensor.size_bytes(), total_bytes_, tensor.type,
                       there.tensors[i].type});
    file_bytes = tensor.end_bytes;
    total_bytes_ = aligned(total_bytes_ + there.tensors[i].size_bytes());
  }
}

/// The first tensor of which bytes lie at the offset or behind it.
std::vector<device_layout::place>::const_iterator device_layout::first_after(uint64_t file_offset_bytes) const {
  return std::partition_point(places_.begin(), places_.end(), [=](const place& p) {
    return p.file_offset_bytes + p.length_bytes <= file_offset_bytes;
  });
}

uint64_t device_layout::place_of(uint64_t file_offset_bytes) const {
  const auto at = first_after(file_offset_bytes);
  if (at == places_.end())
    return total_bytes_;
  const auto before_bytes = file_offset_bytes - std::min(file_offset_bytes, at->file_offset_bytes);
  if (at->in_file == at->on_device)
    return at->device_offset_bytes + before_bytes;
  const uint64_t size_bytes = bits(at->in_file) / 8;
  return at->device_offset_bytes + (before_bytes + size_bytes - 1) / size_bytes * (bits(at->on_device) / 8);
}

upload_plan device_layout::plan(uint64_t offset_bytes, uint64_t length_bytes, device_address base,
                                upload_options options, uint64_t overlap_bytes) const {
  const auto end_bytes = offset_bytes + length_bytes - overlap_bytes;
  plan_builder builder{options.small_bytes};
  for (auto at = first_after(offset_bytes); at != places_.end() && at->file_offset_bytes < end_bytes; ++at) {
    if (at->length_bytes == 0)
      continue;
    const auto begin = std::max(at->file_offset_bytes, offset_bytes);
    const auto end = std::min(at->file_offset_bytes + at->length_bytes, end_bytes);
    if (at->in_file != at->on_device) {
      const uint64_t size_bytes = bits(at->in_file) / 8;
      const auto element_at = [&](uint64_t byte) {
        return (byte - at->file_offset_bytes + size_bytes - 1) / size_bytes;
      };
      const auto first = element_at(begin), elements = element_at(end) - first;
      const auto destination = base + at->device_offset_bytes + first * (bits(at->on_device) / 8);
      if (elements > 0)
        builder.add_cast(at->file_offset_bytes + first * size_bytes - offset_bytes, elements * size_bytes,
                         {0, at->in_file, destination, at->on_device, elements});
      continue;
    }
    const auto destination = base + at->device_offset_bytes + (begin - at->file_offset_bytes);
    builder.add({begin - offset_bytes, destination, end - begin}, at->length_bytes >= options.small_bytes);
  }
  return builder.finish();
}

}  // namespace longshore
