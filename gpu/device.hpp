#pragma once
/// A device that weights are uploaded to: memory of its own, streams of ordered work, and completions that call back.
///
/// Owns its streams, its allocations' addresses and, if it needs them, threads. Two of them: `host_device`, made of
/// ordinary memory and real threads, and `cuda_device`.
/// Order: work of one stream runs in the order in which it was queued; streams run beside each other unless an event
/// says otherwise. A call that queues work returns at once, never waits for a stream, and borrows what it is given
/// (both ends of a copy) until a completion queued behind it has come. Thread rule: every method from any thread.
/// Failure: a call that fails has queued nothing and says why; what fails later, on the stream, is told to the
/// completions behind it. `out_of_budget` where device memory is short, `io_failed` where the device or its driver
/// fails, `unsupported` where it cannot do such a thing.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "cache/error.hpp"
#include "io/safetensors.hpp"

namespace longshore {

/// An address in a device's memory: arithmetic is fine, dereferencing is the device's alone. 0 is none.
using device_address = uint64_t;
using stream_id = uint32_t;  ///< of one device; never used twice
using event_id = uint64_t;   ///< of one device; never used twice

struct device_memory {
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;  ///< by the driver's word, other programs' use counted
};

/// One piece of a scatter: bytes that travelled packed, and where on the device they belong.
struct scatter_piece {
  uint64_t source_offset_bytes = 0;
  device_address destination = 0;
  uint64_t length_bytes = 0;
};

/// A conversion of elements. The element types: F32, F16, BF16, F8_E4M3, F8_E5M2, any to any.
struct cast_request {
  device_address source = 0;
  dtype from{};
  device_address destination = 0;
  dtype to{};
  uint64_t elements = 0;
};

/// Called once, on a thread of the device, when all work queued before it in its stream is over; with the first failure
/// of that stream's work since the completion before. Must not block; may queue more work.
using device_completion = std::function<void(const expected<void>&)>;

class device {
public:
  static constexpr uint64_t alignment_bytes = 256;  ///< of every allocation

  device() = default;
  device(const device&) = delete;
  device& operator=(const device&) = delete;
  virtual ~device() = default;  ///< waits for all work queued

  virtual std::string name() const = 0;  ///< "host", "cuda:0"
  virtual expected<device_memory> memory() const = 0;

  virtual expected<device_address> allocate(uint64_t bytes) = 0;
  virtual void free(device_address address) = 0;  ///< nothing may use it any more

  /// Page-locks host memory for copies at the link's full rate. Whole pages; ranges must not overlap.
  virtual expected<void> register_host(std::byte* address, uint64_t bytes) = 0;
  virtual expected<void> unregister_host(std::byte* address) = 0;  ///< of the whole range that began there

  virtual expected<stream_id> make_stream() = 0;
  virtual void destroy_stream(stream_id stream) = 0;  ///< its queued work still runs, its completions come

  virtual expected<void> copy_to_device(stream_id stream, const std::byte* source, device_address destination,
                                        uint64_t bytes) = 0;
  virtual expected<void> copy_to_host(stream_id stream, device_address source, std::byte* destination,
                                      uint64_t bytes) = 0;

  /// Moves pieces of the packed bytes at `packed` (device memory) to their places. `pieces` is free again at return.
  virtual expected<void> scatter(stream_id stream, device_address packed, std::span<const scatter_piece> pieces) = 0;

  /// Rounds to nearest, ties to even, exactly as `torch.Tensor.to` does. Source and destination must not overlap.
  virtual expected<void> cast(stream_id stream, const cast_request& request) = 0;

  /// A checksum (gpu/checksum.hpp) of device memory, written to `result` in host memory when the stream gets there.
  virtual expected<void> checksum(stream_id stream, device_address source, uint64_t bytes, uint64_t* result) = 0;

  /// A mark behind all work queued in the stream so far, for other streams to wait for on the device itself.
  virtual expected<event_id> record_event(stream_id stream) = 0;
  virtual expected<void> wait_event(stream_id stream, event_id event) = 0;
  virtual expected<bool> event_is_over(event_id event) const = 0;
  virtual void destroy_event(event_id event) = 0;

  virtual expected<void> when_over(stream_id stream, device_completion completion) = 0;
};

}  // namespace longshore
