#include "gpu/host_device.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "gpu/cast.hpp"
#include "gpu/checksum.hpp"

namespace longshore {
namespace {

unexpected refused(std::string what) { return unexpected(error{.code = errc::bad_argument, .what = std::move(what)}); }

std::byte* at_address(device_address address) { return reinterpret_cast<std::byte*>(address); }

}  // namespace

host_device::host_device(host_device_options options)
    : options_(std::move(options)),
      memory_(options_.capacity_bytes, options_.ready_bytes),
      link_(options_.link_bytes_per_s, options_.copy_latency) {}

/// Streams stay known until their threads have ended: a completion may queue more work meanwhile.
host_device::~host_device() {
  std::vector<std::shared_ptr<host_stream>> all;
  {
    const std::lock_guard guard{mutex_};
    stopping_ = true;
    all = destroyed_;
    for (const auto& [id, stream] : streams_)
      all.push_back(stream);
  }
  for (const auto& stream : all)
    stream->close();
  for (const auto& stream : all)
    stream->join();
}

host_device_counts host_device::counts() const {
  const std::lock_guard guard{counts_mutex_};
  auto result = counts_;
  result.allocated = memory_.allocated();
  result.registered = registrations_.registered();
  result.link = link_.used();
  return result;
}

expected<void> host_device::ask(const device_call& call) {
  if (!options_.script)
    return {};
  const std::lock_guard guard{script_mutex_};
  auto numbered = call;
  numbered.number = numbers_[static_cast<size_t>(call.kind)]++;
  if (auto failure = options_.script(numbered))
    return unexpected(std::move(*failure));
  return {};
}

expected<std::shared_ptr<host_stream>> host_device::stream_of(stream_id stream) const {
  const std::lock_guard guard{mutex_};
  const auto found = streams_.find(stream);
  if (found == streams_.end())
    return refused("the device has no stream " + std::to_string(stream));
  return found->second;
}

expected<std::shared_ptr<host_event>> host_device::event_of(event_id event) const {
  const std::lock_guard guard{mutex_};
  const auto found = events_.find(event);
  if (found == events_.end())
    return refused("the device has no event " + std::to_string(event));
  return found->second;
}

expected<void> host_device::holds(std::span<const device_range> ranges) const {
  for (const auto& range : ranges)
    if (!memory_.holds(range.address, range.bytes))
      return refused("no allocation of the device holds " + std::to_string(range.bytes) + " bytes at " +
                     std::to_string(range.address));
  return {};
}

expected<device_memory> host_device::memory() const {
  return device_memory{memory_.capacity_bytes(), memory_.capacity_bytes() - memory_.allocated().now};
}

expected<device_address> host_device::allocate(uint64_t bytes) {
  return ask({.kind = device_operation::allocate, .bytes = bytes}).and_then([&] { return memory_.allocate(bytes); });
}

void host_device::free(device_address address) {
  if (address == 0 || memory_.free(address))
    return;
  const std::lock_guard guard{counts_mutex_};
  ++counts_.bad_frees;
}

expected<void> host_device::register_host(std::byte* address, uint64_t bytes) {
  return ask({.kind = device_operation::register_host, .host = address, .bytes = bytes}).and_then([&] {
    return registrations_.add(address, bytes);
  });
}

expected<void> host_device::unregister_host(std::byte* address) {
  return ask({.kind = device_operation::unregister_host, .host = address}).and_then([&] {
    return registrations_.remove(address);
  });
}

expected<stream_id> host_device::make_stream() {
  if (auto asked = ask({.kind = device_operation::make_stream}); !asked)
    return unexpected(std::move(asked.error()));
  join_ended_streams();
  const std::lock_guard guard{mutex_};
  if (stopping_)
    return unexpected(error{.code = errc::stopped, .what = "the device is going away"});
  if (streams_.size() + destroyed_.size() >= options_.streams_most)
    return unexpected(error{.code = errc::overloaded,
                            .what = "the device has " + std::to_string(options_.streams_most) + " streams already"});
  auto made = host_stream::make(options_.clock, options_.queued_most);
  if (!made)
    return unexpected(std::move(made.error()));
  streams_.emplace(++last_stream_, std::move(*made));
  return last_stream_;
}

void host_device::destroy_stream(stream_id stream) {
  {
    const std::lock_guard guard{mutex_};
    const auto found = streams_.find(stream);
    if (found == streams_.end())
      return;
    found->second->close();
    destroyed_.push_back(std::move(found->second));
    streams_.erase(found);
  }
  join_ended_streams();
}

void host_device::join_ended_streams() {
  std::vector<std::shared_ptr<host_stream>> ended;  // joined by their destructors, without the lock
  const std::lock_guard guard{mutex_};
  const auto first = std::partition(destroyed_.begin(), destroyed_.end(), [](const auto& s) { return !s->is_over(); });
  ended.assign(std::make_move_iterator(first), std::make_move_iterator(destroyed_.end()));
  destroyed_.erase(first, destroyed_.end());
}

expected<void> host_device::copy_to_device(stream_id stream, const std::byte* source, device_address destination,
                                           uint64_t bytes) {
  return queue_copy(stream, {destination, source, source, at_address(destination), bytes, {}}, true);
}

expected<void> host_device::copy_to_host(stream_id stream, device_address source, std::byte* destination,
                                         uint64_t bytes) {
  return queue_copy(stream, {source, destination, at_address(source), destination, bytes, {}}, false);
}

expected<void> host_device::queue_copy(stream_id stream, copy c, bool from_host) {
  auto found = stream_of(stream);
  if (!found)
    return unexpected(std::move(found.error()));
  if (auto asked = ask({.kind = device_operation::queue_copy, .host = c.on_host, .bytes = c.bytes}); !asked)
    return asked;
  const device_range range{c.on_device, c.bytes};
  if (auto held = holds({&range, 1}); !held)
    return held;
  auto stay = registrations_.enter(c.on_host, c.bytes);
  if (stay.covered == host_registrations::cover::part)
    return refused("only a part of the copy's host memory is registered");
  if (stay.covered == host_registrations::cover::none) {
    if (options_.require_registered)
      return refused("the copy's host memory is not registered");
    const std::lock_guard guard{counts_mutex_};
    ++counts_.unpinned_copies;
  }
  if (options_.check_sources && from_host)
    c.source_checksum = longshore::checksum({c.source, c.bytes});
  return (*found)->push([this, c, token = std::move(stay.token)](host_time& at) { return run_copy(c, at); });
}

expected<void> host_device::run_copy(const copy& c, host_time& at) {
  if (auto asked = ask({.kind = device_operation::run_copy, .host = c.on_host, .bytes = c.bytes}); !asked)
    return asked;
  const device_range range{c.on_device, c.bytes};
  if (auto held = holds({&range, 1}); !held)
    return held;
  const auto turn = link_.take(at, c.bytes);
  options_.clock.wait_until(turn.begin);
  if (auto checked = check_source(c); !checked)
    return checked;
  std::memcpy(c.destination, c.source, c.bytes);
  options_.clock.wait_until(turn.end);
  at = options_.link_bytes_per_s == 0 ? options_.clock.now() : turn.end;
  if (auto checked = check_source(c); !checked)
    return checked;
  const std::lock_guard guard{counts_mutex_};
  ++counts_.copies;
  counts_.copied_bytes += c.bytes;
  return {};
}

expected<void> host_device::check_source(const copy& c) {
  if (!c.source_checksum || longshore::checksum({c.source, c.bytes}) == *c.source_checksum)
    return {};
  const std::lock_guard guard{counts_mutex_};
  ++counts_.changed_sources;
  return unexpected(
      error{.code = errc::mismatch,
            .what = "the source of a copy of " + std::to_string(c.bytes) + " bytes changed before the copy was over"});
}

expected<void> host_device::queue_kernel(stream_id stream, std::vector<device_range> ranges, kernel run) {
  auto found = stream_of(stream);
  if (!found)
    return unexpected(std::move(found.error()));
  if (auto asked = ask({.kind = device_operation::queue_kernel}); !asked)
    return asked;
  if (auto held = holds(ranges); !held)
    return held;
  return (*found)->push([this, ranges = std::move(ranges), run = std::move(run)](host_time& at) -> expected<void> {
    if (auto asked = ask({.kind = device_operation::run_kernel}); !asked)
      return asked;
    if (auto held = holds(ranges); !held)
      return held;
    run();
    at = options_.clock.now();
    return {};
  });
}

expected<void> host_device::scatter(stream_id stream, device_address packed, std::span<const scatter_piece> pieces) {
  std::vector<device_range> ranges;
  ranges.reserve(2 * pieces.size());
  for (const auto& piece : pieces) {
    ranges.push_back({packed + piece.source_offset_bytes, piece.length_bytes});
    ranges.push_back({piece.destination, piece.length_bytes});
  }
  return queue_kernel(stream, std::move(ranges), [packed, copied = std::vector(pieces.begin(), pieces.end())] {
    for (const auto& piece : copied)
      std::memcpy(at_address(piece.destination), at_address(packed + piece.source_offset_bytes), piece.length_bytes);
  });
}

expected<void> host_device::cast(stream_id stream, const cast_request& request) {
  if (!can_cast(request.from, request.to))
    return unexpected(error{.code = errc::unsupported,
                            .what = "the device casts no " + std::string{longshore::name(request.from)} + " to " +
                                    std::string{longshore::name(request.to)}});
  if (request.elements > options_.capacity_bytes)
    return refused("a cast of " + std::to_string(request.elements) + " elements is more than the device holds");
  const device_range source{request.source, request.elements * bits(request.from) / 8};
  const device_range destination{request.destination, request.elements * bits(request.to) / 8};
  if (source.address < destination.address + destination.bytes && destination.address < source.address + source.bytes)
    return refused("source and destination of a cast overlap");
  return queue_kernel(stream, {source, destination}, [request] {
    cast_elements(at_address(request.source), request.from, at_address(request.destination), request.to,
                  request.elements);
  });
}

expected<void> host_device::checksum(stream_id stream, device_address source, uint64_t bytes, uint64_t* result) {
  if (result == nullptr)
    return refused("a checksum needs a place for its result");
  return queue_kernel(stream, {{source, bytes}}, [=] { *result = longshore::checksum({at_address(source), bytes}); });
}

expected<event_id> host_device::record_event(stream_id stream) {
  auto found = stream_of(stream);
  if (!found)
    return unexpected(std::move(found.error()));
  auto event = std::make_shared<host_event>();
  auto pushed = ask({.kind = device_operation::queue_mark}).and_then([&] {
    return (*found)->push([event](host_time& at) -> expected<void> {
      event->happen(at);
      return {};
    });
  });
  if (!pushed)
    return unexpected(std::move(pushed.error()));
  const std::lock_guard guard{mutex_};
  events_.emplace(++last_event_, std::move(event));
  return last_event_;
}

expected<void> host_device::wait_event(stream_id stream, event_id event) {
  auto found = stream_of(stream);
  auto mark = event_of(event);
  if (!found || !mark)
    return unexpected(std::move(found ? mark.error() : found.error()));
  if (auto asked = ask({.kind = device_operation::queue_mark}); !asked)
    return asked;
  return (*found)->push([mark = std::move(*mark)](host_time& at) -> expected<void> {
    at = std::max(at, mark->wait());
    return {};
  });
}

expected<bool> host_device::event_is_over(event_id event) const {
  return event_of(event).map([](const auto& found) { return found->is_over(); });
}

void host_device::destroy_event(event_id event) {
  const std::lock_guard guard{mutex_};
  events_.erase(event);
}

expected<void> host_device::when_over(stream_id stream, device_completion completion) {
  auto found = stream_of(stream);
  if (!found)
    return unexpected(std::move(found.error()));
  return ask({.kind = device_operation::queue_mark}).and_then([&] {
    return (*found)->push_completion(std::move(completion));
  });
}

}  // namespace longshore
