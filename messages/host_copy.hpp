#pragma once
/// Between the holder of a file on the device and the holder of the same file in host memory, and to the copier.
///
/// The former asks for ranges of the file, at most its credits at a time, and each `borrow_range` gets exactly one
/// `range_lent`, when the range is in memory, or when it is clear that it will not be; or none, when the holder ends
/// first. A refusal is of the whole copy. Bytes that are not page-locked are copied to a slot by the copier, which
/// answers each `copy_bytes` with one `bytes_copied`.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "messages/local_message.hpp"

namespace longshore {

struct borrow_range {
  uint32_t index = 0;
  uint64_t offset_bytes = 0;  ///< in the file
  uint64_t length_bytes = 0;
};

/// The range, which stays where it is as long as `memory` lives; no address when the copy is not to be had.
struct range_lent {
  uint32_t index = 0;
  const std::byte* data = nullptr;
  bool is_pinned = false;  ///< page-locked as long as `memory` lives, so that the device can copy it from here
  std::shared_ptr<const void> memory{};
};

struct preferred_range {
  uint64_t offset_bytes = 0;  ///< in the file
  uint64_t length_bytes = 0;
};

/// A streamer to the holder: these ranges go to the device in every pass, so they need their pins more than the rest.
struct prefer_pins {
  std::vector<preferred_range> ranges{};
};

struct copy_bytes {
  uint32_t index = 0;
  const std::byte* source = nullptr;
  std::byte* destination = nullptr;
  uint64_t length_bytes = 0;
  std::shared_ptr<const void> memory{};  ///< keeps the source
  std::shared_ptr<const void> target{};  ///< keeps the destination
};

struct bytes_copied {
  uint32_t index = 0;
};

}  // namespace longshore

LONGSHORE_LOCAL_MESSAGE(borrow_range)
LONGSHORE_LOCAL_MESSAGE(range_lent)
LONGSHORE_LOCAL_MESSAGE(prefer_pins)
LONGSHORE_LOCAL_MESSAGE(copy_bytes)
LONGSHORE_LOCAL_MESSAGE(bytes_copied)
