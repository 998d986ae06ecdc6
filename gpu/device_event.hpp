#pragma once
/// A mark in a stream of a device, for as long as anyone may wait for it.
///
/// Owns the event and a share of its device. Immutable, any thread. Failure: of recording, as the device has it.

#include <memory>
#include <utility>

#include "gpu/device.hpp"

namespace longshore {

class device_event {
public:
  /// Behind all work queued in the stream so far.
  static expected<std::shared_ptr<const device_event>> record(std::shared_ptr<device> target, stream_id stream) {
    const auto made = target->record_event(stream);
    if (!made)
      return tl::unexpected(made.error());
    return std::make_shared<const device_event>(std::move(target), *made);
  }

  /// Takes over an event that was recorded elsewhere.
  device_event(std::shared_ptr<device> target, event_id id) : target_(std::move(target)), id_(id) {}
  ~device_event() { target_->destroy_event(id_); }
  device_event(const device_event&) = delete;
  device_event& operator=(const device_event&) = delete;

  event_id id() const { return id_; }
  expected<bool> is_over() const { return target_->event_is_over(id_); }

private:
  std::shared_ptr<device> target_;
  event_id id_;
};

}  // namespace longshore
