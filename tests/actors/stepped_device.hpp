#pragma once
/// A device whose work runs when the test says so, one piece at a time, each stream in its order: real bytes, and
/// failures from a script.
///
/// Owns its memory and the queued work. One thread, that of the test. It is the witness of what is page-locked: ranges
/// that overlap, an unlock of what is not locked, a copy out of memory that was unlocked under it, and an address that
/// is not the device's fail the test; and of events: waiting for one that was destroyed fails it too. A copy that fails
/// leaves rubbish. Without scripts nothing fails.

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
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
    for (const auto& [stream, queued] : streams_)
      EXPECT_TRUE(queued.empty()) << "work was left behind";
    EXPECT_TRUE(events_.empty()) << "an event was left behind";
    EXPECT_TRUE(memory_.empty()) << "device memory was left behind";
    EXPECT_TRUE(locked_.empty()) << "host memory was left page-locked";
  }

  /// Whether this call fails; the calls: "allocate" (for want of memory), "break", "register", "stream", "queue",
  /// "run".
  std::function<bool(const char* call)> fails = [](const char*) { return false; };

  /// The streams that have something to do and wait for no event.
  size_t pending() const {
    return static_cast<size_t>(
        std::count_if(streams_.begin(), streams_.end(), [](const auto& one) { return can_run(one.second); }));
  }

  /// Runs the next work of one of these.
  void step(size_t index) {
    for (auto& [stream, queued] : streams_)
      if (can_run(queued) && index-- == 0) {
        auto next = std::move(queued.front());
        queued.pop_front();
        if (next.run)
          next.run();
        std::erase_if(streams_, [&](const auto& one) { return one.second.empty() && gone_.contains(one.first); });
        return;
      }
  }

  /// The test's own work, in its place in the stream.
  void call(stream_id stream, std::function<void()> run) { streams_.at(stream).push_back({.run = std::move(run)}); }

  uint64_t failed_runs() const { return failed_runs_; }

  /// What the device has there.
  const std::byte* look(device_address address, uint64_t bytes) { return at(address, bytes); }

  uint64_t locked_bytes() const { return locked_bytes_; }
  uint64_t allocated_bytes() const { return allocated_bytes_; }

  std::string name() const override { return "stepped"; }
  expected<device_memory> memory() const override {
    return device_memory{capacity_bytes_, capacity_bytes_ - allocated_bytes_};
  }

  expected<device_address> allocate(uint64_t bytes) override {
    if (fails("break"))
      return unexpected(error{errc::io_failed, "the device is broken"});
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
    if (fails("stream"))
      return unexpected(error{errc::io_failed, "no stream"});
    streams_.emplace(++last_stream_, std::deque<work>{});
    failures_.emplace(last_stream_, expected<void>{});
    return last_stream_;
  }
  void destroy_stream(stream_id stream) override {
    if (streams_.at(stream).empty())
      streams_.erase(stream);
    else
      gone_.insert(stream);  // what it has still runs
  }

  expected<void> copy_to_device(stream_id stream, const std::byte* source, device_address destination,
                                uint64_t bytes) override {
    const bool was_locked = is_locked(source, bytes, true);
    return queue(stream, [=, this](bool well) {
      EXPECT_TRUE(!was_locked || is_locked(source, bytes, true)) << "unlocked under a copy";
      if (well)
        std::memcpy(at(destination, bytes), source, bytes);
      else
        std::memset(at(destination, bytes), 0xee, bytes);
    });
  }
  expected<void> scatter(stream_id stream, device_address packed, std::span<const scatter_piece> pieces) override {
    return queue(stream, [=, this, all = std::vector(pieces.begin(), pieces.end())](bool well) {
      for (const auto& piece : all)
        std::memcpy(at(piece.destination, piece.length_bytes),
                    at(packed + (well ? piece.source_offset_bytes : 0), piece.length_bytes), piece.length_bytes);
    });
  }
  expected<void> cast(stream_id stream, const cast_request& r) override {
    return queue(stream, [=, this](bool well) {
      auto* destination = at(r.destination, r.elements * bits(r.to) / 8);
      if (well)
        cast_elements(at(r.source, r.elements * bits(r.from) / 8), r.from, destination, r.to, r.elements);
      else
        std::memset(destination, 0xee, r.elements * bits(r.to) / 8);
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
      streams_.at(stream).push_back({.run = std::move(tell)});
    return {};
  }

  expected<event_id> record_event(stream_id stream) override {
    if (fails("queue"))
      return unexpected(error{errc::io_failed, "cannot queue"});
    const auto over = std::make_shared<bool>(streams_.at(stream).empty());
    if (!*over)
      streams_.at(stream).push_back({.run = [over] { *over = true; }});
    events_.emplace(++last_event_, over);
    return last_event_;
  }
  expected<void> wait_event(stream_id stream, event_id event) override {
    if (fails("queue"))
      return unexpected(error{errc::io_failed, "cannot queue"});
    const auto found = events_.find(event);
    EXPECT_NE(found, events_.end()) << "waits for an event that is gone";
    if (found != events_.end() && !*found->second)
      streams_.at(stream).push_back({.waits_for = found->second});
    return {};
  }
  expected<bool> event_is_over(event_id event) const override {
    EXPECT_TRUE(events_.contains(event)) << "asks for an event that is gone";
    return *events_.at(event);
  }
  void destroy_event(event_id event) override { EXPECT_EQ(events_.erase(event), 1U); }

  // Nothing here uses these.
  expected<void> copy_to_host(stream_id, device_address, std::byte*, uint64_t) override { return unused(); }
  expected<void> checksum(stream_id, device_address, uint64_t, uint64_t*) override { return unused(); }

private:
  struct work {
    std::function<void()> run{};
    std::shared_ptr<const bool> waits_for{};
  };

  static bool can_run(const std::deque<work>& queued) {
    return !queued.empty() && (!queued.front().waits_for || *queued.front().waits_for);
  }

  static expected<void> unused() { return unexpected(error{errc::unsupported, "not of this device"}); }

  /// The work is told whether it shall succeed.
  expected<void> queue(stream_id stream, std::function<void(bool)> run) {
    if (fails("queue"))
      return unexpected(error{errc::io_failed, "cannot queue"});
    streams_.at(stream).push_back({.run = [this, stream, run = std::move(run)] {
      const bool well = !fails("run");
      if (!well)
        failures_.at(stream) = unexpected(error{errc::io_failed, "a copy failed"});
      failed_runs_ += well ? 0 : 1;
      run(well);
    }});
    return {};
  }

  std::byte* at(device_address address, uint64_t bytes) {
    const auto behind = memory_.upper_bound(address);
    if (behind != memory_.begin())
      if (auto& [begin, memory] = *std::prev(behind); address + bytes <= begin + memory.size())
        return memory.data() + (address - begin);
    ADD_FAILURE() << "not the device's memory, or not any more";
    nowhere_.resize(std::max<size_t>(nowhere_.size(), bytes));
    return nowhere_.data();
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
  std::vector<std::byte> nowhere_;  // where a broken test writes
  uint64_t failed_runs_ = 0;
  event_id last_event_ = 0;
  std::map<event_id, std::shared_ptr<bool>> events_;  // whether each is over
  std::set<stream_id> gone_;
  std::map<stream_id, std::deque<work>> streams_;
  std::map<stream_id, expected<void>> failures_;
};

}  // namespace longshore
