#pragma once
/// Which segments of a model's arena are page-locked, which shall be, and which will not.
///
/// Owns a share of each lock. A holder's own, one thread. Segments are whole but for the arena's last. Cannot fail.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "gpu/pinned_range.hpp"

namespace longshore {

class model_pins {
public:
  model_pins() = default;  ///< no segments: nothing is pinned, and nothing shall be
  model_pins(uint64_t arena_bytes, uint64_t segment_bytes);

  size_t segments() const { return segments_.size(); }
  uint64_t offset_bytes(size_t segment) const { return segment * segment_bytes_; }
  uint64_t length_bytes(size_t segment) const;
  size_t segment_at(uint64_t offset_bytes) const { return offset_bytes / segment_bytes_; }

  /// Whether its pins are still to be asked for. What is refused once is not asked for again.
  bool is_open(size_t segment) const { return segments_[segment].state == progress::open; }
  void ask(size_t segment);
  void pinned(size_t segment, std::shared_ptr<const pinned_range> range);
  void refused(size_t segment);  ///< and with it all that were not asked for yet

  /// Where pins were refused to segments that are wanted most, those of the others go, and the former are to be asked
  /// for: these come back.
  std::vector<size_t> prefer(const std::vector<bool>& wanted);

  bool asks() const { return asking_ > 0; }

  /// Whether it is known of each byte of the range if it is pinned.
  bool is_decided(uint64_t offset_bytes, uint64_t length_bytes) const;

  /// The lock on the whole range; null when there is not one that covers it.
  std::shared_ptr<const pinned_range> lock_of(uint64_t offset_bytes, uint64_t length_bytes) const;

  /// Lets go of at least so many bytes from the end, or of all; how many that were.
  uint64_t release(uint64_t bytes);

  uint64_t pinned_bytes() const;

private:
  enum class progress : uint8_t { open, asked, pinned, refused };
  struct segment_state {
    progress state = progress::open;
    std::shared_ptr<const pinned_range> range{};
  };

  uint64_t arena_bytes_ = 0;
  uint64_t segment_bytes_ = 1;
  std::vector<segment_state> segments_;
  size_t asking_ = 0;
};

}  // namespace longshore
