#include "gpu/cuda_device.hpp"

#include <algorithm>
#include <map>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "gpu/cast.hpp"
#include "gpu/checksum.hpp"
#include "gpu/cuda_library.hpp"
#include "gpu/cuda_stream.hpp"
#include "gpu/cuda_sums.hpp"

namespace longshore {
namespace {

constexpr uint64_t page_bytes = 4096;

unexpected refused(std::string what) { return unexpected(error{.code = errc::bad_argument, .what = std::move(what)}); }

std::string bytes_text(uint64_t bytes) { return std::to_string(bytes) + " bytes"; }

void* pointer(device_address address) { return reinterpret_cast<void*>(address); }

/// The pieces in as few batches as hold them, without the empty ones.
std::vector<cuda_scatter_batch> batches_of(device_address packed, std::span<const scatter_piece> pieces) {
  std::vector<cuda_scatter_batch> batches;
  for (const auto& piece : pieces) {
    if (piece.length_bytes == 0)
      continue;
    if (batches.empty() || batches.back().count == cuda_scatter_batch::pieces_most)
      batches.push_back({.packed = packed, .count = 0, .reserved = 0, .pieces = {}});
    auto& batch = batches.back();
    batch.pieces[batch.count++] = {piece.source_offset_bytes, piece.destination, piece.length_bytes};
  }
  return batches;
}

/// What is wrong with a cast, or nothing.
expected<void> check_cast(const cast_request& request) {
  if (!can_cast(request.from, request.to))
    return unexpected(error{.code = errc::unsupported,
                            .what = "the device casts no " + std::string{longshore::name(request.from)} + " to " +
                                    std::string{longshore::name(request.to)}});
  constexpr uint64_t elements_most = uint64_t{1} << 48;
  if (request.elements > elements_most)
    return refused("a cast of " + std::to_string(request.elements) + " elements is more than any device holds");
  const auto source_end = request.source + request.elements * bits(request.from) / 8;
  const auto destination_end = request.destination + request.elements * bits(request.to) / 8;
  if (request.source < destination_end && request.destination < source_end)
    return refused("source and destination of a cast overlap");
  return {};
}

class cuda_device final : public device {
public:
  explicit cuda_device(cuda_calls calls) : calls_(std::move(calls)) {}
  ~cuda_device() override;

  expected<void> start(const cuda_device_options& options);

  std::string name() const override { return calls_.name(); }
  expected<device_memory> memory() const override;
  expected<device_address> allocate(uint64_t bytes) override;
  void free(device_address address) override;
  expected<void> register_host(std::byte* address, uint64_t bytes) override;
  expected<void> unregister_host(std::byte* address) override;
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
  expected<std::shared_ptr<cuda_stream>> stream_of(stream_id stream) const;
  expected<std::shared_ptr<cuda_event>> event_of(event_id event) const;
  expected<void> queue(stream_id stream, const cuda_work& work);
  void join_ended_streams();

  const cuda_calls calls_;
  std::unique_ptr<cuda_sums> sums_;

  mutable std::mutex mutex_;  // for all below; never held in a call of CUDA that may wait
  bool ending_ = false;
  stream_id last_stream_ = 0;
  event_id last_event_ = 0;
  std::map<stream_id, std::shared_ptr<cuda_stream>> streams_;
  std::vector<std::shared_ptr<cuda_stream>> destroyed_;  // which may still run what was queued
  std::map<event_id, std::shared_ptr<cuda_event>> events_;
  std::set<device_address> allocations_;
  std::set<std::byte*> registrations_;
};

expected<void> cuda_device::start(const cuda_device_options& options) {
  return calls_.select().and_then([&] { return cuda_sums::make(calls_, options.checksums_most); }).map([&](auto sums) {
    sums_ = std::move(sums);
  });
}

/// Streams stay known until their threads have ended: a completion may queue more work meanwhile.
cuda_device::~cuda_device() {
  std::vector<std::shared_ptr<cuda_stream>> all;
  {
    const std::lock_guard guard{mutex_};
    ending_ = true;  // from here on a stream is joined here and nowhere else
    all = destroyed_;
    for (const auto& [id, stream] : streams_)
      all.push_back(stream);
  }
  for (const auto& stream : all)
    stream->close();
  for (const auto& stream : all)
    stream->join();
  // What fails from here on failed before, and there is nobody to tell.
  static_cast<void>(calls_.select());
  events_.clear();
  for (const auto address : allocations_)
    calls_->free(pointer(address));
  for (auto* address : registrations_)
    calls_->host_unregister(address);
  sums_.reset();
}

expected<device_memory> cuda_device::memory() const {
  size_t free_bytes = 0, total_bytes = 0;
  return calls_.select()
      .and_then([&] {
        return calls_.check(calls_->mem_get_info(&free_bytes, &total_bytes), "does not say how much memory it has");
      })
      .map([&] { return device_memory{.total_bytes = total_bytes, .free_bytes = free_bytes}; });
}

expected<device_address> cuda_device::allocate(uint64_t bytes) {
  if (bytes == 0)
    return refused("an allocation of no bytes");
  if (auto selected = calls_.select(); !selected)
    return unexpected(std::move(selected.error()));
  void* allocated = nullptr;
  auto done = calls_.check(calls_->malloc(&allocated, bytes), "cannot allocate " + bytes_text(bytes));
  if (!done) {
    if (done.error().code == errc::out_of_budget)
      if (const auto now = memory())
        done.error().what +=
            ", " + std::to_string(now->free_bytes) + " of " + bytes_text(now->total_bytes) + " are free";
    return unexpected(std::move(done.error()));
  }
  const auto address = reinterpret_cast<device_address>(allocated);
  const std::lock_guard guard{mutex_};
  allocations_.insert(address);
  return address;
}

/// Forgotten before it is freed, as another thread may be given the same address right after. Not tried again if CUDA
/// reports a failure, for that reason and since it is one of earlier work.
void cuda_device::free(device_address address) {
  {
    const std::lock_guard guard{mutex_};
    if (allocations_.erase(address) == 0)
      return;
  }
  static_cast<void>(calls_.select());
  calls_->free(pointer(address));
}

expected<void> cuda_device::register_host(std::byte* address, uint64_t bytes) {
  if (address == nullptr || bytes == 0 || reinterpret_cast<uintptr_t>(address) % page_bytes != 0 ||
      bytes % page_bytes != 0)
    return refused("host memory is registered in whole pages, which " + bytes_text(bytes) + " here are not");
  return calls_.select()
      .and_then([&] {
        return calls_.check(calls_->host_register(address, bytes, cuda_register_portable),
                            "cannot page-lock " + bytes_text(bytes));
      })
      .map([&] {
        const std::lock_guard guard{mutex_};
        registrations_.insert(address);
      });
}

expected<void> cuda_device::unregister_host(std::byte* address) {
  {
    const std::lock_guard guard{mutex_};
    if (registrations_.erase(address) == 0)
      return refused("no registered host memory begins there");
  }
  auto done = calls_.select().and_then(
      [&] { return calls_.check(calls_->host_unregister(address), "cannot give page-locked memory back"); });
  if (!done) {
    const std::lock_guard guard{mutex_};
    registrations_.insert(address);
  }
  return done;
}

expected<stream_id> cuda_device::make_stream() {
  join_ended_streams();
  return calls_.select().and_then([&] { return cuda_stream::make(calls_); }).map([&](auto stream) {
    const std::lock_guard guard{mutex_};
    streams_.emplace(++last_stream_, std::move(stream));
    return last_stream_;
  });
}

void cuda_device::destroy_stream(stream_id stream) {
  {
    const std::lock_guard guard{mutex_};
    auto found = streams_.extract(stream);
    if (found.empty())
      return;
    found.mapped()->close();
    destroyed_.push_back(std::move(found.mapped()));
  }
  join_ended_streams();
}

/// A stream that is over left its last completion behind, so this never waits for one, nor for the thread it is on.
void cuda_device::join_ended_streams() {
  std::vector<std::shared_ptr<cuda_stream>> ended;
  {
    const std::lock_guard guard{mutex_};
    if (ending_)
      return;
    const auto first =
        std::partition(destroyed_.begin(), destroyed_.end(), [](const auto& s) { return !s->is_over(); });
    ended.assign(std::make_move_iterator(first), std::make_move_iterator(destroyed_.end()));
    destroyed_.erase(first, destroyed_.end());
  }
  for (const auto& stream : ended)
    stream->join();
}

expected<std::shared_ptr<cuda_stream>> cuda_device::stream_of(stream_id stream) const {
  const std::lock_guard guard{mutex_};
  const auto found = streams_.find(stream);
  if (found == streams_.end())
    return refused("the device has no stream " + std::to_string(stream));
  return found->second;
}

expected<std::shared_ptr<cuda_event>> cuda_device::event_of(event_id event) const {
  const std::lock_guard guard{mutex_};
  const auto found = events_.find(event);
  if (found == events_.end())
    return refused("the device has no event " + std::to_string(event));
  return found->second;
}

expected<void> cuda_device::queue(stream_id stream, const cuda_work& work) {
  return stream_of(stream).and_then(
      [&](const auto& found) { return calls_.select().and_then([&] { return found->queue(work); }); });
}

expected<void> cuda_device::copy_to_device(stream_id stream, const std::byte* source, device_address destination,
                                           uint64_t bytes) {
  return queue(stream, {.what = "cannot copy " + bytes_text(bytes) + " to the device",
                        .call =
                            [&](cuda_stream_handle handle, size_t) {
                              return calls_->memcpy_async(pointer(destination), source, bytes,
                                                          static_cast<int>(cuda_copy_kind::host_to_device), handle);
                            },
                        .calls = bytes == 0 ? size_t{0} : 1});
}

expected<void> cuda_device::copy_to_host(stream_id stream, device_address source, std::byte* destination,
                                         uint64_t bytes) {
  return queue(stream, {.what = "cannot copy " + bytes_text(bytes) + " to the host",
                        .call =
                            [&](cuda_stream_handle handle, size_t) {
                              return calls_->memcpy_async(destination, pointer(source), bytes,
                                                          static_cast<int>(cuda_copy_kind::device_to_host), handle);
                            },
                        .calls = bytes == 0 ? size_t{0} : 1});
}

expected<void> cuda_device::scatter(stream_id stream, device_address packed, std::span<const scatter_piece> pieces) {
  const auto batches = batches_of(packed, pieces);
  return queue(stream, {.what = "cannot scatter " + std::to_string(pieces.size()) + " pieces",
                        .call = [&](cuda_stream_handle handle,
                                    size_t number) { return calls_->scatter(&batches[number], handle); },
                        .calls = batches.size()});
}

expected<void> cuda_device::cast(stream_id stream, const cast_request& request) {
  if (auto checked = check_cast(request); !checked)
    return checked;
  const cuda_cast launch{.source = request.source,
                         .destination = request.destination,
                         .elements = request.elements,
                         .from = static_cast<uint32_t>(*float_format_of(request.from)),
                         .to = static_cast<uint32_t>(*float_format_of(request.to))};
  return queue(stream, {.what = "cannot cast " + std::to_string(request.elements) + " elements",
                        .call = [&](cuda_stream_handle handle, size_t) { return calls_->cast(&launch, handle); },
                        .calls = request.elements == 0 ? size_t{0} : 1});
}

expected<void> cuda_device::checksum(stream_id stream, device_address source, uint64_t bytes, uint64_t* result) {
  if (result == nullptr)
    return refused("a checksum needs a place for its result");
  auto found = stream_of(stream);
  if (!found)
    return unexpected(std::move(found.error()));
  auto place = calls_.select().and_then([&] { return sums_->take(); });
  if (!place)
    return unexpected(std::move(place.error()));
  const auto sum = *place;
  const cuda_work work{.what = "cannot sum " + bytes_text(bytes),
                       .call =
                           [&](cuda_stream_handle handle, size_t number) {
                             return number == 0 ? calls_->checksum_words(source, bytes, sum.on_device, handle)
                                                : calls_->memcpy_async(sum.on_host, sum.on_device, sizeof *sum.on_host,
                                                                       static_cast<int>(cuda_copy_kind::device_to_host),
                                                                       handle);
                           },
                       .calls = 2};
  auto queued = (*found)->queue(work, [this, sum, bytes, result](const expected<void>& over) {
    if (over)
      *result = checksum_of_sum(*sum.on_host, bytes);
    sums_->give_back(sum.number);
  });
  if (!queued)
    sums_->give_back(sum.number);
  return queued;
}

expected<event_id> cuda_device::record_event(stream_id stream) {
  if (auto selected = calls_.select(); !selected)
    return unexpected(std::move(selected.error()));
  auto event = cuda_event::make(calls_, cuda_event_disable_timing);
  if (!event)
    return unexpected(std::move(event.error()));
  return queue(stream, {.what = "cannot mark a stream",
                        .call = [&](cuda_stream_handle handle,
                                    size_t) { return calls_->event_record(event->handle(), handle); }})
      .map([&] {
        const std::lock_guard guard{mutex_};
        events_.emplace(++last_event_, std::make_shared<cuda_event>(std::move(*event)));
        return last_event_;
      });
}

expected<void> cuda_device::wait_event(stream_id stream, event_id event) {
  return event_of(event).and_then([&](const auto& mark) {
    return queue(stream,
                 {.what = "cannot let a stream wait for another", .call = [&](cuda_stream_handle handle, size_t) {
                    return calls_->stream_wait_event(handle, mark->handle(), 0);
                  }});
  });
}

expected<bool> cuda_device::event_is_over(event_id event) const {
  return event_of(event).and_then([&](const auto& mark) -> expected<bool> {
    const auto code = calls_->event_query(mark->handle());
    if (code == cuda_code::not_ready)
      return false;
    return calls_.check(code, "failed at queued work").map([] { return true; });
  });
}

void cuda_device::destroy_event(event_id event) {
  std::shared_ptr<cuda_event> last;  // destroyed without the lock
  const std::lock_guard guard{mutex_};
  if (auto found = events_.extract(event); !found.empty())
    last = std::move(found.mapped());
}

expected<void> cuda_device::when_over(stream_id stream, device_completion completion) {
  return stream_of(stream).and_then([&](const auto& found) { return found->when_over(std::move(completion)); });
}

}  // namespace

expected<std::unique_ptr<device>> make_cuda_device(const cuda_table& table, cuda_device_options options) {
  const auto count = cuda_device_count(table);
  if (!count)
    return unexpected(count.error());
  if (options.index >= *count)
    return unexpected(error{.code = errc::unsupported,
                            .what = "there is no cuda:" + std::to_string(options.index) + ": CUDA sees " +
                                    (*count == 0 ? "no GPU" : std::to_string(*count) + " GPUs") + " here"});
  auto made = std::make_unique<cuda_device>(cuda_calls{table, options.index});
  return made->start(options).map([&]() -> std::unique_ptr<device> { return std::move(made); });
}

}  // namespace longshore
