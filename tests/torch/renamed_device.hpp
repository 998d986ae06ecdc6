#pragma once
/// A host device under another name, so that torch takes its memory for that of a device it has to queue work on.
///
/// Owns the host device. Limits, thread rule and failures are that one's.

#include <string>
#include <utility>

#include "gpu/host_device.hpp"

namespace longshore {

class renamed_device final : public device {
public:
  explicit renamed_device(std::string name) : name_(std::move(name)) {}

  host_device_counts counts() const { return host_.counts(); }

  std::string name() const override { return name_; }
  expected<device_memory> memory() const override { return host_.memory(); }
  expected<device_address> allocate(uint64_t bytes) override { return host_.allocate(bytes); }
  void free(device_address address) override { host_.free(address); }
  expected<void> register_host(std::byte* address, uint64_t bytes) override {
    return host_.register_host(address, bytes);
  }
  expected<void> unregister_host(std::byte* address) override { return host_.unregister_host(address); }
  expected<stream_id> make_stream() override { return host_.make_stream(); }
  void destroy_stream(stream_id stream) override { host_.destroy_stream(stream); }
  expected<void> copy_to_device(stream_id stream, const std::byte* source, device_address destination,
                                uint64_t bytes) override {
    return host_.copy_to_device(stream, source, destination, bytes);
  }
  expected<void> copy_to_host(stream_id stream, device_address source, std::byte* destination,
                              uint64_t bytes) override {
    return host_.copy_to_host(stream, source, destination, bytes);
  }
  expected<void> scatter(stream_id stream, device_address packed, std::span<const scatter_piece> pieces) override {
    return host_.scatter(stream, packed, pieces);
  }
  expected<void> cast(stream_id stream, const cast_request& request) override { return host_.cast(stream, request); }
  expected<void> checksum(stream_id stream, device_address source, uint64_t bytes, uint64_t* result) override {
    return host_.checksum(stream, source, bytes, result);
  }
  expected<event_id> record_event(stream_id stream) override { return host_.record_event(stream); }
  expected<void> wait_event(stream_id stream, event_id event) override { return host_.wait_event(stream, event); }
  expected<bool> event_is_over(event_id event) const override { return host_.event_is_over(event); }
  void destroy_event(event_id event) override { host_.destroy_event(event); }
  expected<void> when_over(stream_id stream, device_completion completion) override {
    return host_.when_over(stream, std::move(completion));
  }

private:
  std::string name_;
  host_device host_;
};

}  // namespace longshore
