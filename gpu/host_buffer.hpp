#pragma once
/// A pinned buffer that grows in place: host memory at fixed addresses, registered with a device segment by segment.
///
/// Owns a range of `max_bytes` of addresses, reserved once, and the memory and registrations of the segments within it.
/// Only segments can be touched; what lies between them has neither memory nor access. Nothing ever moves.
/// Registering is cheap only for pages that exist, so a segment's pages are brought in first, by several threads, as
/// huge pages where the system has them. A driver that refuses a segment is asked for halves, down to
/// `min_segment_bytes`.
/// Limits: `max_bytes`; registered bytes are those asked for, rounded up to whole huge pages, and at no time more.
/// Thread rule: one thread at a time; threads of its own live within a call only. The device must live longer.
/// Failure: a call that fails has left everything as it was. `out_of_budget` beyond `max_bytes` and where the system
/// has no memory; otherwise the device's own error. Where the device even refuses to unregister, the segment stays.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "gpu/device.hpp"

namespace longshore {

struct host_buffer_options {
  uint64_t max_bytes = uint64_t{4} << 30;
  uint64_t segment_bytes = 64 << 20;
  uint64_t min_segment_bytes = 2 << 20;
  unsigned touch_threads = 0;  ///< 0: one a core
};

struct host_segment {
  uint64_t offset_bytes = 0;  ///< in the buffer
  uint64_t length_bytes = 0;

  friend bool operator==(const host_segment&, const host_segment&) = default;
};

class host_buffer {
public:
  static constexpr uint64_t granule_bytes = 2 << 20;  ///< all sizes above are multiples of it

  static expected<std::unique_ptr<host_buffer>> make(device& on, host_buffer_options options = {});
  ~host_buffer();  ///< no copy may be in flight
  host_buffer(const host_buffer&) = delete;
  host_buffer& operator=(const host_buffer&) = delete;

  /// Memory for all of [0, bytes), holes filled. Fresh memory reads as zero.
  expected<void> grow_to(uint64_t bytes);

  /// Gives back the segments that begin at `bytes` or behind; one that reaches across stays.
  expected<void> shrink_to(uint64_t bytes);

  /// Gives back the segment that begins there.
  expected<void> give_back(uint64_t offset_bytes);

  std::byte* data() const { return data_; }  ///< aligned to a huge page
  uint64_t max_bytes() const { return options_.max_bytes; }
  uint64_t registered_bytes() const { return registered_bytes_; }
  const std::vector<host_segment>& segments() const { return segments_; }  ///< by offset

private:
  host_buffer(device& on, host_buffer_options options) : device_(on), options_(options) {}
  std::vector<host_segment> gaps_before(uint64_t end_bytes) const;
  expected<void> fill(host_segment gap, uint64_t& piece_bytes, std::vector<host_segment>& added);
  expected<void> bring_in(uint64_t offset_bytes, uint64_t length_bytes);
  void send_away(uint64_t offset_bytes, uint64_t length_bytes);
  void insert(host_segment segment);

  device& device_;
  const host_buffer_options options_;
  std::byte* data_ = nullptr;
  std::vector<host_segment> segments_;
  uint64_t registered_bytes_ = 0;
};

}  // namespace longshore
