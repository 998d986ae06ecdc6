#include "app/simulate/simulated_device.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "gpu/cast.hpp"

namespace longshore {
namespace {

unexpected refused(std::string what) { return unexpected(error{.code = errc::bad_argument, .what = std::move(what)}); }

unexpected without_bytes(const char* what) {
  return unexpected(error{.code = errc::unsupported, .what = std::string(what) + ": a simulated device has no bytes"});
}

std::chrono::nanoseconds time_for(uint64_t bytes, uint64_t bytes_per_s) {
  return host_link{bytes_per_s, {}}.take({}, bytes).end.time_since_epoch();
}

}  // namespace

simulated_device::simulated_device(simulated_device_options options)
    : options_(std::move(options)), link_(options_.link_bytes_per_s, options_.copy_latency) {}

std::optional<host_time> simulated_device::next() const {
  return wakes_.empty() ? std::nullopt : std::optional{wakes_.begin()->first};
}

void simulated_device::run_until(host_time at) {
  while (!wakes_.empty() && wakes_.begin()->first <= at) {
    const auto [when, id] = *wakes_.begin();
    wakes_.erase(wakes_.begin());
    proceed(id, when);
  }
}

void simulated_device::wake(stream_id id, host_time at) {
  streams_.at(id).is_awake = true;
  wakes_.emplace(at, id);
}

void simulated_device::proceed(stream_id id, host_time at) {
  auto& s = streams_.at(id);
  if (s.running) {
    copied_bytes_ += s.running->bytes;
    s.running.reset();
  }
  while (!s.queue.empty())
    if (!perform(id, s, at))
      return;
  s.is_awake = false;
  if (s.is_closed)
    streams_.erase(id);
}

/// The next piece of work of a stream; false when the stream has to come back to it later.
bool simulated_device::perform(stream_id id, ordered_work& s, host_time at) {
  if (const auto* waits = std::get_if<wait>(&s.queue.front()); waits != nullptr && !waits->which->is_over) {
    waits->which->waiting.push_back(id);
    return false;
  }
  auto next = std::move(s.queue.front());
  s.queue.pop_front();
  if (auto* c = std::get_if<copy>(&next)) {
    begin(id, s, std::move(*c), at);
    return false;
  }
  if (const auto* m = std::get_if<mark>(&next)) {
    m->which->is_over = true;
    for (const auto waiting : std::exchange(m->which->waiting, {}))
      wake(waiting, at);
  } else if (const auto* completion = std::get_if<device_completion>(&next)) {
    (*completion)({});
  }
  return true;
}

/// A copy from ordinary memory keeps the link for as long as it takes at its lower rate.
void simulated_device::begin(stream_id id, ordered_work& s, copy c, host_time at) {
  const auto slowdown =
      c.is_pinned ? 1.0
                  : static_cast<double>(options_.link_bytes_per_s) / static_cast<double>(options_.unpinned_bytes_per_s);
  const auto turn = link_.take(at, static_cast<uint64_t>(static_cast<double>(c.bytes) * slowdown));
  turns_.push_back({turn.begin, turn.end, c.bytes});
  s.running = std::move(c);
  wake(id, turn.end);
}

expected<void> simulated_device::check_stream(stream_id id) const {
  const auto found = streams_.find(id);
  if (found == streams_.end() || found->second.is_closed)
    return refused("the device has no stream " + std::to_string(id));
  return {};
}

expected<void> simulated_device::queue(stream_id id, work w) {
  if (auto known = check_stream(id); !known)
    return known;
  auto& s = streams_.at(id);
  s.queue.push_back(std::move(w));
  if (!s.is_awake)
    wake(id, options_.now());
  return {};
}

expected<void> simulated_device::holds(device_address address, uint64_t bytes) const {
  const auto behind = blocks_.upper_bound(address);
  if (behind != blocks_.begin()) {
    const auto& [begin, size_bytes] = *std::prev(behind);
    if (address - begin <= size_bytes && bytes <= size_bytes - (address - begin))
      return {};
  }
  return refused("no allocation of the device holds " + std::to_string(bytes) + " bytes at " + std::to_string(address));
}

expected<device_memory> simulated_device::memory() const {
  return device_memory{options_.capacity_bytes, options_.capacity_bytes - allocated_.now};
}

expected<device_address> simulated_device::allocate(uint64_t bytes) {
  const auto free_bytes = options_.capacity_bytes - allocated_.now;
  const auto size_bytes = (std::max<uint64_t>(bytes, 1) + alignment_bytes - 1) / alignment_bytes * alignment_bytes;
  if (bytes > free_bytes || size_bytes > free_bytes)
    return unexpected(error{.code = errc::out_of_budget,
                            .what = "the device is " + std::to_string(std::max(bytes, size_bytes) - free_bytes) +
                                    " bytes short of an allocation of " + std::to_string(bytes)});
  const auto address = next_address_;
  next_address_ += size_bytes + alignment_bytes;  // a gap, so that a range that runs over its end is noticed
  blocks_.emplace(address, size_bytes);
  allocated_.add(size_bytes);
  return address;
}

void simulated_device::free(device_address address) {
  const auto found = blocks_.find(address);
  if (found == blocks_.end())
    return;
  allocated_.now -= found->second;
  blocks_.erase(found);
}

expected<void> simulated_device::register_host(std::byte* address, uint64_t bytes) {
  auto added = registrations_.add(address, bytes);
  if (added)
    blocked_ += time_for(bytes, options_.register_bytes_per_s);
  return added;
}

expected<void> simulated_device::unregister_host(std::byte* address) { return registrations_.remove(address); }

expected<stream_id> simulated_device::make_stream() {
  streams_.try_emplace(++last_stream_);
  return last_stream_;
}

void simulated_device::destroy_stream(stream_id stream) {
  const auto found = streams_.find(stream);
  if (found == streams_.end())
    return;
  found->second.is_closed = true;
  if (!found->second.is_awake && found->second.queue.empty())
    streams_.erase(found);
}

expected<void> simulated_device::copy_to_device(stream_id stream, const std::byte* source, device_address destination,
                                                uint64_t bytes) {
  if (auto held = holds(destination, bytes); !held)
    return held;
  auto stay = registrations_.enter(source, bytes);
  if (stay.covered == host_registrations::cover::part)
    return refused("only a part of the copy's host memory is page-locked");
  const auto is_pinned = stay.covered == host_registrations::cover::whole;
  unpinned_copies_ += is_pinned ? 0 : 1;
  return queue(stream, copy{bytes, is_pinned, std::move(stay.token)});
}

expected<void> simulated_device::copy_to_host(stream_id, device_address, std::byte*, uint64_t) {
  return without_bytes("no copy back");
}

/// Takes no time, so once it is known to be right there is nothing to queue.
expected<void> simulated_device::scatter(stream_id stream, device_address packed,
                                         std::span<const scatter_piece> pieces) {
  for (const auto& piece : pieces) {
    if (auto held = holds(packed + piece.source_offset_bytes, piece.length_bytes); !held)
      return held;
    if (auto held = holds(piece.destination, piece.length_bytes); !held)
      return held;
  }
  return check_stream(stream);
}

expected<void> simulated_device::cast(stream_id stream, const cast_request& request) {
  if (!can_cast(request.from, request.to))
    return unexpected(error{.code = errc::unsupported, .what = "the device has no such cast"});
  return holds(request.source, request.elements * bits(request.from) / 8)
      .and_then([&] { return holds(request.destination, request.elements * bits(request.to) / 8); })
      .and_then([&] { return check_stream(stream); });
}

expected<void> simulated_device::checksum(stream_id, device_address, uint64_t, uint64_t*) {
  return without_bytes("no checksum");
}

expected<event_id> simulated_device::record_event(stream_id stream) {
  auto made = std::make_shared<simulated_event>();
  if (auto queued = queue(stream, mark{made}); !queued)
    return unexpected(std::move(queued.error()));
  events_.emplace(++last_event_, std::move(made));
  return last_event_;
}

expected<void> simulated_device::wait_event(stream_id stream, event_id event) {
  const auto found = events_.find(event);
  if (found == events_.end())
    return refused("the device has no event " + std::to_string(event));
  return queue(stream, wait{found->second});
}

expected<bool> simulated_device::event_is_over(event_id event) const {
  const auto found = events_.find(event);
  if (found == events_.end())
    return refused("the device has no event " + std::to_string(event));
  return found->second->is_over;
}

void simulated_device::destroy_event(event_id event) { events_.erase(event); }

expected<void> simulated_device::when_over(stream_id stream, device_completion completion) {
  return queue(stream, std::move(completion));
}

}  // namespace longshore
