#pragma once
/// A device without bytes: its copies take the time that a link of the set rate would take, its memory is addresses.
///
/// Streams run in order and beside each other, and share the link, which serves copies in the order in which they came
/// to the head of their streams. Work within the device takes no time. Every range is checked against the allocations
/// as it is queued. What can only be told from bytes (a checksum, a copy back) is `unsupported`.
/// Owns its streams, events, the list of page-locked ranges, and the list of copies that were made. Limit:
/// `capacity_bytes`, hard, alignment counted. One thread, that of the simulation, which asks `next` when something
/// happens and lets it happen with `run_until`; completions come from there. Failure: as in device.hpp.

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "app/simulate/simulated_time.hpp"
#include "gpu/device.hpp"
#include "gpu/host_memory.hpp"

namespace longshore {

struct simulated_device_options {
  uint64_t capacity_bytes = 0;
  uint64_t link_bytes_per_s = 0;
  std::chrono::nanoseconds copy_latency{0};  ///< before each copy's turn on the link
  uint64_t unpinned_bytes_per_s = 0;         ///< of copies from host memory that is not page-locked
  uint64_t register_bytes_per_s = 0;         ///< 0: page-locking takes no time
  simulated_clock now{};
};

class simulated_device final : public device {
public:
  explicit simulated_device(simulated_device_options options);

  std::optional<host_time> next() const;
  void run_until(host_time at);

  /// How long calls since the last question would have kept their caller waiting: page-locking is work of the caller's.
  std::chrono::nanoseconds take_blocked_time() { return std::exchange(blocked_, {}); }

  peak_bytes allocated() const { return allocated_; }
  peak_bytes registered() const { return registrations_.registered(); }
  const std::vector<simulated_turn>& turns() const { return turns_; }
  uint64_t copied_bytes() const { return copied_bytes_; }
  uint64_t unpinned_copies() const { return unpinned_copies_; }

  std::string name() const override { return "simulated"; }
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
    uint64_t bytes;
    bool is_pinned;
    std::shared_ptr<void> stay;  // in the page-locked memory that it reads
  };
  struct simulated_event {
    bool is_over = false;
    std::vector<stream_id> waiting;
  };
  struct mark {
    std::shared_ptr<simulated_event> which;
  };
  struct wait {
    std::shared_ptr<simulated_event> which;
  };
  using work = std::variant<copy, mark, wait, device_completion>;

  struct ordered_work {
    std::deque<work> queue;
    std::optional<copy> running;
    bool is_awake = false;  // has its place in `wakes_`, or is at work
    bool is_closed = false;
  };

  expected<void> queue(stream_id id, work w);
  expected<void> check_stream(stream_id id) const;
  expected<void> holds(device_address address, uint64_t bytes) const;
  void wake(stream_id id, host_time at);
  void proceed(stream_id id, host_time at);
  bool perform(stream_id id, ordered_work& s, host_time at);
  void begin(stream_id id, ordered_work& s, copy c, host_time at);

  const simulated_device_options options_;
  host_link link_;
  host_registrations registrations_;
  std::map<device_address, uint64_t> blocks_;
  device_address next_address_ = alignment_bytes;
  peak_bytes allocated_;
  std::map<stream_id, ordered_work> streams_;
  std::map<event_id, std::shared_ptr<simulated_event>> events_;
  std::multimap<host_time, stream_id> wakes_;
  stream_id last_stream_ = 0;
  event_id last_event_ = 0;
  std::vector<simulated_turn> turns_;
  uint64_t copied_bytes_ = 0;
  uint64_t unpinned_copies_ = 0;
  std::chrono::nanoseconds blocked_{0};
};

}  // namespace longshore
