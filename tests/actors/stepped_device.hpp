#pragma once
/// A device whose work runs when the test says so, one piece at a time, each stream in its order: real bytes, and
/// failures from a script.
///
/// Owns its memory and the queued work. One thread, that of the test. It is the witness of what is page-locked: ranges
/// that overlap, an unlock of what is not locked, a copy out of memory that was unlocked under it, and an address that
/// is not the device's fail the test. Without scripts nothing fails.

#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "gpu/cast.hpp"
#include "gpu/device.hpp"

namespace longshore {

class stepped_device final : public device {
public:
  explicit stepped_device(uint64_t capacity_bytes) : capacity_bytes_(capacity_bytes) {}
  ~stepped_device() override {
    EXPECT_EQ(pending(), 0U);
    EXPECT_TRUE(memory_.empty()) << "device memory was left behind";
    EXPECT_TRUE(locked_.empty()) << "host memory was left page-locked";
  }

  /// Whether this call fails; the calls: "allocate", "register", "queue", "run".
  std::function<bool(const char* call)> fails = [](const char*) { return false; };

  size_t pending() const {
    size_t busy = 0;
    for (const auto& [stream, queued] : streams_)
      busy += queued.empty() ? 0 : 1;
    return busy;
  }

  /// Runs the next work of one of the busy streams.
  void step(size_t index) {
    for (auto& [stream, queued] : streams_)
      if (!queued.empty() && index-- == 0) {
        auto next = std::move(queued.front());
        queued.pop_front();
        return next();
      }
  }

  /// What the device has there.
  const std::byte* look(device_address address, uint64_t bytes) { return at(address, bytes); }

  uint64_t locked_bytes() const { return locked_bytes_; }
  uint64_t allocated_bytes() const { return allocated_bytes_; }

  std::string name() const override { return "stepped"; }
  expected<device_memory> memory() const override {
    return device_memory{capacity_bytes_, capacity_bytes_ - allocated_bytes_};
  }

  expected<device_address> allocate(uint64_t bytes) override {
    if (fails("allocate") || bytes > capacity_bytes_ - allocated_bytes_)
      return unexpected(error{errc::out_of_budget, "the device has no memory"});
    const auto address = std::exchange(next_address_, next_address_ + (bytes / 256 + 2) * 256);
    memory_.emplace(address, std::vector<std::byte>(bytes));
    allocated_bytes_ += bytes;
    return address;
  }
  void free(device_address address) override {
    const auto found = memory_.find(address);
    ASSERT_NE(found, memory_.end());
    allocated_bytes_ -= found->second.size();
    memory_.erase(found);
  }

  expected<void> register_host(std::byte* address, uint64_t bytes) override {
    if (fails("register"))
      return unexpected(error{errc::io_failed, "cannot page-lock"});
    EXPECT_FALSE(is_locked(address, bytes, false)) << "page-locked twice";
    locked_.emplace(address, bytes);
    locked_bytes_ += bytes;
    return {};
  }
  expected<void> unregister_host(std::byte* address) override {
    const auto found = locked_.find(address);
    EXPECT_NE(found, locked_.end()) << "unlocked what is not locked";
    if (found == locked_.end())
      return unexpected(error{errc::bad_argument, "not locked"});
    locked_bytes_ -= found->second;
    locked_.erase(found);
    return {};
  }

  expected<stream_id> make_stream() override {
    streams_.emplace(++last_stream_, std::deque<work>{});
    failures_.emplace(last_stream_, expected<void>{});
    return last_stream_;
  }
  void destroy_stream(stream_id stream) override {
    EXPECT_TRUE(streams_.at(stream).empty()) << "the test steps no stream that is gone";
    streams_.erase(stream);
  }

  expected<void> copy_to_device(stream_id stream, const std::byte* source, device_address destination,
                                uint64_t bytes) override {
    const bool was_locked = is_locked(source, bytes, true);
    return queue(stream, [=, this] {
      EXPECT_TRUE(!was_locked || is_locked(source, bytes, true)) << "unlocked under a copy";
      std::memcpy(at(destination, bytes), source, bytes);
    });
  }
  expected<void> scatter(stream_id stream, device_address packed, std::span<const scatter_piece> pieces) override {
    return queue(stream, [=, this, all = std::vector(pieces.begin(), pieces.end())] {
      for (const auto& piece : all)
        std::memcpy(at(piece.destination, piece.length_bytes),
                    at(packed + piece.source_offset_bytes, piece.length_bytes), piece.length_bytes);
    });
  }
  expected<void> cast(stream_id stream, const cast_request& r) override {
    return queue(stream, [=, this] {
      cast_elements(at(r.source, r.elements * bits(r.from) / 8), r.from, at(r.destination, r.elements * bits(r.to) / 8),
                    r.to, r.elements);
    });
  }
  expected<void> when_over(stream_id stream, device_completion completion) override {
    if (fails("queue"))
      return unexpected(error{errc::io_failed, "cannot queue"});
    auto tell = [this, stream, completion = std::move(completion)] {
      completion(std::exchange(failures_.at(stream), {}));
    };
    if (streams_.at(stream).empty())
      tell();
    else
      streams_.at(stream).push_back(std::move(tell));
    return {};
  }

  // Nothing here uses these.
  expected<void> copy_to_host(stream_id, device_address, std::byte*, uint64_t) override { return unused(); }
  expected<void> checksum(stream_id, device_address, uint64_t, uint64_t*) override { return unused(); }
  expected<event_id> record_event(stream_id) override { return unexpected(unused().error()); }
  expected<void> wait_event(stream_id, event_id) override { return unused(); }
  expected<bool> event_is_over(event_id) const override { return unexpected(unused().error()); }
  void destroy_event(event_id) override {}

private:
  using work = std::function<void()>;

  static expected<void> unused() { return unexpected(error{errc::unsupported, "not of this device"}); }

  expected<void> queue(stream_id stream, work run) {
    if (fails("queue"))
      return unexpected(error{errc::io_failed, "cannot queue"});
    streams_.at(stream).push_back([this, stream, run = std::move(run)] {
      if (fails("run"))
        failures_.at(stream) = unexpected(error{errc::io_failed, "a copy failed"});
      else
        run();
    });
    return {};
  }

  std::byte* at(device_address address, uint64_t bytes) {
    auto found = memory_.upper_bound(address);
    EXPECT_NE(found, memory_.begin()) << "not the device's address";
    --found;
    EXPECT_LE(address + bytes, found->first + found->second.size()) << "beyond an allocation";
    return found->second.data() + (address - found->first);
  }

  /// Whether the range is locked, `whole` or in any part.
  bool is_locked(const std::byte* address, uint64_t bytes, bool whole) const {
    for (const auto& [begin, length] : locked_)
      if (whole ? begin <= address && address + bytes <= begin + length
                : begin < address + bytes && address < begin + length)
        return true;
    return false;
  }

  const uint64_t capacity_bytes_;
  uint64_t allocated_bytes_ = 0;
  uint64_t locked_bytes_ = 0;
  device_address next_address_ = 256;
  stream_id last_stream_ = 0;
  std::map<device_address, std::vector<std::byte>> memory_;
  std::map<const std::byte*, uint64_t> locked_;
  std::map<stream_id, std::deque<work>> streams_;
  std::map<stream_id, expected<void>> failures_;
};

}  // namespace longshore
