#pragma once
/// A device made of ordinary memory and a real thread for each stream, for every machine and every test.
///
/// Owns its memory, its streams' threads, and a link of a set rate that the copies of all streams share in both
/// directions. A copy reads its source when its turn on the link begins and is over when the turn ends; in between its
/// thread sleeps. Work within the device (scatter, cast, checksum) takes as long as the processor takes.
/// Addresses are those of the memory itself, so a test may look there. Every range is checked against the allocations,
/// when a call queues it and again when it runs.
/// Limits: `capacity_bytes`, `streams_most`, `queued_most` of each stream; beyond the latter two a call is
/// `overloaded`. Thread rule: as in device.hpp. The last reference to a device goes anywhere but on a stream's own
/// thread. Failure: as in device.hpp, and what `script` asks for. `bad_argument` for an unknown stream or event, an
/// address that is not the device's, and host memory of which only a part is registered (as CUDA has it).

#include <array>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "gpu/device.hpp"
#include "gpu/host_link.hpp"
#include "gpu/host_memory.hpp"
#include "gpu/host_stream.hpp"

namespace longshore {

/// Where a host device can be told to fail: at a call, or later on the stream (`run_...`).
enum class device_operation : uint8_t {
  allocate,
  register_host,
  unregister_host,
  make_stream,
  queue_copy,
  run_copy,
  queue_kernel,  ///< scatter, cast, checksum
  run_kernel,
  queue_mark,  ///< record_event, wait_event, when_over
};

inline constexpr size_t device_operation_count = static_cast<size_t>(device_operation::queue_mark) + 1;

struct device_call {
  device_operation kind{};
  uint64_t number = 0;              ///< of the calls of this kind, from 0
  const std::byte* host = nullptr;  ///< what a registration or a copy names in host memory
  uint64_t bytes = 0;               ///< of an allocation, registration or copy
};

/// Called for one call at a time; an error makes the call fail with it. Must not call the device.
using device_script = std::function<std::optional<error>(const device_call& call)>;

struct host_device_options {
  uint64_t capacity_bytes = 1 << 30;
  uint64_t ready_bytes = 0;                  ///< of them, brought in at the start for the first allocation
  uint64_t link_bytes_per_s = 0;             ///< 0: as fast as the processor copies
  std::chrono::nanoseconds copy_latency{0};  ///< before each copy's turn on the link
  bool require_registered = false;           ///< a copy from or to host memory never registered is `bad_argument`
  bool check_sources = false;                ///< a copy whose source changes before it is over fails with `mismatch`
  size_t streams_most = 64;
  size_t queued_most = 1 << 16;
  device_script script{};
  host_clock clock = host_clock::steady();
};

/// What a test wants to know afterwards.
struct host_device_counts {
  peak_bytes allocated;
  peak_bytes registered;
  uint64_t copies = 0;           ///< run, without failure
  uint64_t copied_bytes = 0;     ///< by these
  uint64_t unpinned_copies = 0;  ///< queued from or to host memory never registered
  uint64_t changed_sources = 0;  ///< seen by `check_sources`
  uint64_t bad_frees = 0;        ///< of addresses where no allocation begins
  host_link::usage link;
};

class host_device final : public device {
public:
  explicit host_device(host_device_options options = {});
  ~host_device() override;

  host_device_counts counts() const;

  std::string name() const override { return "host"; }
  expected<device_memory> memory() const override;
  expected<device_address> allocate(uint64_t bytes) override;
  void free(device_address address) override;
  expected<void> register_host(std::byte* address, uint64_t bytes) override;
  expected<void> unregister_host(std::byte* address) override;  ///< refused while copies there are in flight
  expected<stream_id> make_stream() override;
  void destroy_stream(stream_id stream) override;
  expected<void> copy_to_device(stream_id stream, const std::byte* source, device_address destination,
                                uint64_t bytes) override;
  expected<void> copy_to_host(stream_id stream, device_address source, std::byte* destination, uint64_t bytes) override;
  expected<void> scatter(stream_id stream, device_address packed, std::span<const scatter_piece> pieces) override;
  expected<void> cast(stream_id stream, const cast_request& request) override;
  expected<void> checksum(stream_id stream, device_address source, uint64_t bytes, uint64_t* result) override;
  expected<event_id> record_event(stream_id stream) override;
  expected<void> wait_event(stream_id stream, event_id event) override;
  expected<bool> event_is_over(event_id event) const override;
  void destroy_event(event_id event) override;
  expected<void> when_over(stream_id stream, device_completion completion) override;

private:
  struct copy {
    device_address on_device;
    const std::byte* on_host;
    const std::byte* source;
    std::byte* destination;
    uint64_t bytes;
    std::optional<uint64_t> source_checksum;  // as it was when the copy was queued
  };
  struct device_range {
    device_address address;
    uint64_t bytes;
  };
  using kernel = std::function<void()>;

  expected<void> ask(const device_call& call);
  expected<std::shared_ptr<host_stream>> stream_of(stream_id stream) const;
  expected<std::shared_ptr<host_event>> event_of(event_id event) const;
  expected<void> holds(std::span<const device_range> ranges) const;

  expected<void> queue_copy(stream_id stream, copy c, bool from_host);
  expected<void> run_copy(const copy& c, host_time& at);
  expected<void> check_source(const copy& c);
  expected<void> queue_kernel(stream_id stream, std::vector<device_range> ranges, kernel run);
  void join_ended_streams();

  const host_device_options options_;
  host_memory memory_;
  host_registrations registrations_;
  host_link link_;

  mutable std::mutex counts_mutex_;
  host_device_counts counts_;  // those that no other part keeps

  std::mutex script_mutex_;
  std::array<uint64_t, device_operation_count> numbers_{};

  mutable std::mutex mutex_;  // for all below; never held while a stream is waited for or a script runs
  bool stopping_ = false;
  stream_id last_stream_ = 0;
  event_id last_event_ = 0;
  std::map<event_id, std::shared_ptr<host_event>> events_;
  std::map<stream_id, std::shared_ptr<host_stream>> streams_;
  std::vector<std::shared_ptr<host_stream>> destroyed_;  // which may still run what was queued
};

}  // namespace longshore
