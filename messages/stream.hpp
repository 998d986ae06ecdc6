#pragma once
/// Between the users of a streamed model and its weight streamer: layers that come before they are used, and go when
/// others need their place.
///
/// A user acquires a layer, has its weights on the device as long as it holds the `layer_use`, and gives it back by
/// letting go of it, or earlier by `end`. Addresses are those of this use; the next one's can be others.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <caf/actor_control_block.hpp>

#include "cache/error.hpp"
#include "cache/stream_types.hpp"
#include "gpu/device_blocks.hpp"
#include "messages/local_message.hpp"

namespace longshore {

/// The right to a layer's weights on the device. One thread at a time. Outlives its stream safely: the memory stays as
/// long as this, only nobody is told any more.
class layer_use {
public:
  layer_use(uint32_t layer, std::vector<device_address> addresses,
            std::vector<std::shared_ptr<const device_block>> blocks, std::shared_ptr<const device_event> ready,
            caf::weak_actor_ptr streamer)
      : layer_(layer),
        addresses_(std::move(addresses)),
        blocks_(std::move(blocks)),
        ready_(std::move(ready)),
        streamer_(std::move(streamer)) {}
  ~layer_use() { end(nullptr); }
  layer_use(const layer_use&) = delete;
  layer_use& operator=(const layer_use&) = delete;

  /// Of the layer's tensors, in the order in which it was described.
  const std::vector<device_address>& addresses() const { return addresses_; }

  /// The memory that they lie in. A copy keeps it past the use's end, unchanged.
  const std::vector<std::shared_ptr<const device_block>>& blocks() const { return blocks_; }

  /// What a stream has to wait for on the device before it reads them; null: they are there.
  const std::shared_ptr<const device_event>& ready() const { return ready_; }

  /// The layer may go once this is over on the device; null: at once. Later calls do nothing.
  void end(std::shared_ptr<const device_event> last_use);

private:
  uint32_t layer_;
  std::vector<device_address> addresses_;
  std::vector<std::shared_ptr<const device_block>> blocks_;
  std::shared_ptr<const device_event> ready_;
  caf::weak_actor_ptr streamer_;
};

/// Wants a layer. Answered by `layer_answer`, at the latest when the deadline has passed.
struct acquire_layer {
  uint32_t layer = 0;
  bool on_device = false;  ///< answer as soon as the copies are queued: the user waits for `ready` on the device
  std::chrono::milliseconds deadline = std::chrono::minutes{1};
};

/// The layer, or why it is not to be had: `out_of_budget`, `timed_out`, `io_failed`, `changed_on_disk`, `stopped`, ...
struct layer_answer {
  std::shared_ptr<layer_use> use{};
  error reason{};
};

/// A use to its streamer as it ends. The blocks travel along, so that none is free before its last use is known.
struct layer_released {
  uint32_t layer = 0;
  std::shared_ptr<const device_event> last_use{};
  std::vector<std::shared_ptr<const device_block>> blocks{};  ///< of the layer's units, in their order
};

/// A pass through the layers begins: what is learned is the order within one.
struct begin_pass {};

/// The next pass is soon: first layers come, as far as there is room that nobody else uses.
struct expect_pass {};

/// A stream to the keeper of all: it is there, and in use now.
struct stream_is_used {};

/// A stream to the keeper: the device has no room for this. Answered by `device_room`.
struct need_device_room {
  uint64_t bytes = 0;
};

/// What others gave back to the device.
struct device_room {
  uint64_t freed_bytes = 0;
};

/// Another budget of device memory. What is in use stays until it is released. Answered by `stream_resized`.
struct resize_stream {
  uint64_t budget_bytes = 0;
};

/// Free this much device memory for others, as far as it goes by now: for good, or until a later pass, if there is room
/// then. Answered by `stream_resized`.
struct make_room {
  uint64_t bytes = 0;
  bool for_good = false;
};

struct stream_resized {
  uint64_t budget_bytes = 0;
  uint64_t freed_bytes = 0;  ///< given back to the device
};

/// What a user waited for when a layer was not there.
enum class layer_wait : uint8_t { none, order, memory, staging, disk, host_copy, link };

inline constexpr size_t layer_wait_count = static_cast<size_t>(layer_wait::link) + 1;

constexpr const char* name(layer_wait cause) {
  switch (cause) {
    case layer_wait::none:
      return "nothing";
    case layer_wait::order:
      return "order not yet learned";
    case layer_wait::memory:
      return "device memory";
    case layer_wait::staging:
      return "staging memory";
    case layer_wait::disk:
      return "disk";
    case layer_wait::host_copy:
      return "host copy";
    case layer_wait::link:
      return "link";
  }
  return "unknown";
}

/// Answered by `stream_status`.
struct show_stream {};

struct stream_status {
  uint64_t layers = 0;
  uint64_t units = 0;
  uint64_t model_bytes = 0;  ///< of all units, on the device
  uint64_t budget_bytes = 0;
  uint64_t device_bytes = 0;  ///< taken of the device now, and at most so far
  uint64_t device_peak_bytes = 0;
  stream_counts counts{};
  uint64_t disk_bytes = 0;                                                    ///< of what was moved
  double link_bytes_per_s = 0;                                                ///< as measured; 0 before
  std::vector<uint64_t> waited_ns = std::vector<uint64_t>(layer_wait_count);  ///< by cause
};

/// The streamer to itself: a user has waited long enough.
struct layer_deadline {
  uint64_t ticket = 0;
};

/// The device to the streamer: uses that some memory waited for are over.
struct uses_are_over {};

}  // namespace longshore

LONGSHORE_LOCAL_MESSAGE(acquire_layer)
LONGSHORE_LOCAL_MESSAGE(layer_answer)
LONGSHORE_LOCAL_MESSAGE(layer_released)
LONGSHORE_LOCAL_MESSAGE(begin_pass)
LONGSHORE_LOCAL_MESSAGE(expect_pass)
LONGSHORE_LOCAL_MESSAGE(stream_is_used)
LONGSHORE_LOCAL_MESSAGE(need_device_room)
LONGSHORE_LOCAL_MESSAGE(device_room)
LONGSHORE_LOCAL_MESSAGE(resize_stream)
LONGSHORE_LOCAL_MESSAGE(make_room)
LONGSHORE_LOCAL_MESSAGE(stream_resized)
LONGSHORE_LOCAL_MESSAGE(show_stream)
LONGSHORE_LOCAL_MESSAGE(stream_status)
LONGSHORE_LOCAL_MESSAGE(layer_deadline)
LONGSHORE_LOCAL_MESSAGE(uses_are_over)
