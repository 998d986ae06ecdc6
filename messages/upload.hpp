#pragma once
/// Between a holder and the uploader of a device: chunks on their way to device memory.
///
/// A holder sends `upload_chunk`, and each gets exactly one of `chunk_uploaded` or `upload_failed`. Until that answer,
/// the source belongs to the device, and the destinations too. Before it may come `chunk_queued`, for users that wait
/// on the device itself. Bytes never travel in messages.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "cache/error.hpp"
#include "gpu/device_event.hpp"
#include "gpu/device_layout.hpp"
#include "messages/local_message.hpp"

namespace longshore {

/// What copies wait for on the device, and whether others will wait there for them.
struct copy_order {
  std::vector<std::shared_ptr<const device_event>> after{};  ///< the last uses of what is written over
  bool mark = false;                                         ///< answer `chunk_queued`
};

/// Copy a chunk of a file as the plan says. The two pointers keep source and destinations alive while copies run, also
/// when the holder is gone by then.
struct upload_chunk {
  uint64_t load = 0;
  uint32_t index = 0;
  const std::byte* source = nullptr;  ///< the chunk's first byte
  upload_plan plan{};
  std::shared_ptr<const void> memory{};
  std::shared_ptr<const void> target{};
  copy_order order{};
};

/// The copies stand in the stream; the event comes behind them.
struct chunk_queued {
  uint64_t load = 0;
  uint32_t index = 0;
  std::shared_ptr<const device_event> behind{};
};

struct chunk_uploaded {
  uint64_t load = 0;
  uint32_t index = 0;
};

struct upload_failed {
  uint64_t load = 0;
  uint32_t index = 0;
  error reason{};
};

/// The device to the uploader: all copies of this number are over.
struct upload_over {
  uint64_t tag = 0;
  error reason{};  ///< code 0: they are right
};

/// The uploader to itself: ask the device once more when the copies are over of which it could not say it.
struct settle_copies {};

}  // namespace longshore

LONGSHORE_LOCAL_MESSAGE(upload_chunk)
LONGSHORE_LOCAL_MESSAGE(chunk_queued)
LONGSHORE_LOCAL_MESSAGE(chunk_uploaded)
LONGSHORE_LOCAL_MESSAGE(upload_failed)
LONGSHORE_LOCAL_MESSAGE(upload_over)
LONGSHORE_LOCAL_MESSAGE(settle_copies)
