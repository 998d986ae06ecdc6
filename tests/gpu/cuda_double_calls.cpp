// The functions that the double hands out as CUDA's.
#include <cstdlib>
#include <cstring>

#include "gpu/cast.hpp"
#include "gpu/checksum.hpp"
#include "tests/gpu/cuda_double.hpp"

namespace longshore {
namespace {

constexpr uint64_t allocation_unit_bytes = 256;
constexpr int invalid_value = 1, invalid_device = 101, invalid_handle = 400;
constexpr dtype types[] = {dtype::F32, dtype::F16, dtype::BF16, dtype::F8_E4M3, dtype::F8_E5M2};  // as float_format

uintptr_t number(const void* address) { return reinterpret_cast<uintptr_t>(address); }
std::byte* at(uint64_t address) { return reinterpret_cast<std::byte*>(address); }

}  // namespace

/// The functions of the table. Each is one call of the double that lives.
struct cuda_double_calls {
  enum class on { any_device, used_device };              // any: CUDA knows by the handle or address whose it is
  enum class has { changed_nothing, freed_nonetheless };  // when it fails

  /// Counts the call, fails it if it shall, and complains of a wrong device.
  template <class Body>
  static int call(const char* name, on where, Body body, has failed = has::changed_nothing) {
    auto& d = *cuda_double::the_one_;
    std::unique_lock lock{d.mutex_};
    const bool demanded = d.calls_[name]++ == d.fail_number_ && d.fail_name_ == name;
    d.has_failed_ = d.has_failed_ || demanded;
    const auto current = d.current_.find(std::this_thread::get_id());
    if (where == on::used_device && d.broken_ == 0 &&
        (current == d.current_.end() || current->second != d.options_.used_device))
      d.complain(std::string{name} + " on a thread that has another device");
    const int failure = demanded ? d.fail_code_ : d.broken_;
    if (failure != 0 && failed == has::changed_nothing)
      return failure;
    const int code = body(d, lock);
    return failure != 0 ? failure : code;
  }

  template <class Map>
  static auto* find(cuda_double& d, Map& map, void* handle, const char* what) {
    const auto found = map.find(handle);
    if (found == map.end())
      d.complain(std::string{what} + " used that is not alive");
    return found == map.end() ? nullptr : found->second.get();
  }

  static int queue(cuda_double& d, void* stream, cuda_double::work w) {
    auto* found = find(d, d.streams_, stream, "a stream");
    if (found == nullptr)
      return invalid_handle;
    found->queue.push_back(std::move(w));
    d.changed_.notify_all();
    return 0;
  }

  static int get_device_count(int* count) {
    return call("get_device_count", on::any_device, [&](auto& d, auto&) {
      *count = d.options_.devices;
      return 0;
    });
  }

  static int set_device(int index) {
    return call("set_device", on::any_device, [&](auto& d, auto&) {
      if (index < 0 || index >= d.options_.devices)
        return invalid_device;
      d.current_[std::this_thread::get_id()] = index;
      return 0;
    });
  }

  static const char* get_error_string(int code) {
    return code == cuda_code::out_of_memory ? "out of memory" : "a failure of the double";
  }

  static int mem_get_info(size_t* free_bytes, size_t* total_bytes) {
    return call("mem_get_info", on::used_device, [&](auto& d, auto&) {
      *total_bytes = *free_bytes = d.options_.capacity_bytes;
      for (const auto& [address, bytes] : d.allocations_)
        *free_bytes -= bytes;
      return 0;
    });
  }

  static int allocate(void** address, size_t bytes) {
    return call("malloc", on::used_device, [&](auto& d, auto&) -> int {
      const auto rounded = (bytes + allocation_unit_bytes - 1) / allocation_unit_bytes * allocation_unit_bytes;
      uint64_t used = 0;
      for (const auto& [begin, length] : d.allocations_)
        used += length;
      if (rounded < bytes || rounded > d.options_.capacity_bytes - used)
        return cuda_code::out_of_memory;
      *address = std::aligned_alloc(allocation_unit_bytes, rounded);
      d.allocations_.emplace(number(*address), rounded);
      return 0;
    });
  }

  static int release(void* address) {
    return call(
        "free", on::any_device,
        [&](auto& d, auto&) {
          const auto found = d.allocations_.find(number(address));
          if (found == d.allocations_.end())
            return invalid_value;
          if (d.in_use({address, found->second}, false))
            d.complain("memory freed that queued work uses");
          std::free(address);
          d.allocations_.erase(found);
          return 0;
        },
        has::freed_nonetheless);
  }

  static int host_register(void* address, size_t bytes, unsigned) {
    return call("host_register", on::used_device, [&](auto& d, auto&) -> int {
      for (const auto& [begin, length] : d.registrations_)
        if (cuda_double::overlap(begin, length, number(address), bytes))
          return cuda_code::already_registered;
      d.registrations_.emplace(number(address), bytes);
      return 0;
    });
  }

  static int host_unregister(void* address) {
    return call(
        "host_unregister", on::any_device,
        [&](auto& d, auto&) -> int {
          const auto found = d.registrations_.find(number(address));
          if (found == d.registrations_.end())
            return cuda_code::not_registered;
          if (d.in_use({address, found->second}, true))
            d.complain("memory unregistered that queued work uses");
          d.registrations_.erase(found);
          return 0;
        },
        has::freed_nonetheless);
  }

  static int stream_create(void** stream, unsigned) {
    return call("stream_create_with_flags", on::used_device, [&](auto& d, auto&) {
      *stream = reinterpret_cast<void*>(d.last_handle_ += 16);
      d.streams_.emplace(*stream, std::make_unique<cuda_double::stream>());
      return 0;
    });
  }

  static int stream_destroy(void* stream) {
    return call(
        "stream_destroy", on::any_device,
        [&](auto& d, auto&) {
          if (find(d, d.streams_, stream, "a stream") == nullptr)
            return invalid_handle;
          d.leaving_.push_back(std::move(d.streams_.extract(stream).mapped()));
          return 0;
        },
        has::freed_nonetheless);
  }

  static int stream_synchronize(void* stream) {
    return call("stream_synchronize", on::any_device, [&](auto& d, auto& lock) {
      const auto* found = find(d, d.streams_, stream, "a stream");
      if (found == nullptr)
        return invalid_handle;
      d.changed_.wait(lock, [&] { return found->queue.empty() || d.broken_ != 0; });
      return d.broken_;
    });
  }

  static int stream_wait_event(void* stream, void* event, unsigned) {
    return call("stream_wait_event", on::used_device, [&](auto& d, auto&) {
      if (find(d, d.events_, event, "an event") == nullptr)
        return invalid_handle;
      auto awaited = d.events_.at(event);
      return queue(
          d, stream,
          {.run = [] { return 0; }, .device = {}, .host = {}, .awaited = awaited, .awaited_count = awaited->recorded});
    });
  }

  static int memcpy_async(void* destination, const void* source, size_t bytes, int kind, void* stream) {
    return call("memcpy_async", on::used_device, [&](auto& d, auto&) {
      const bool to_device = kind == static_cast<int>(cuda_copy_kind::host_to_device);
      const cuda_double::range host{to_device ? source : destination, bytes};
      const cuda_double::range device{to_device ? destination : source, bytes};
      if (!d.holds(d.registrations_, host))
        d.complain("a copy from or to memory never registered");
      if (!d.holds(d.allocations_, device))
        return invalid_value;
      auto run = [&d, device, destination, source, bytes] {
        if (!d.holds(d.allocations_, device))
          return cuda_double::broken_work;  // freed meanwhile
        std::memcpy(destination, source, bytes);
        return 0;
      };
      cuda_double::work w{.run = std::move(run), .device = {device}, .host = {host}};
      if (to_device)
        w.source_sum = checksum({static_cast<const std::byte*>(source), bytes});
      return queue(d, stream, std::move(w));
    });
  }

  static int event_create(void** event, unsigned) {
    return call("event_create_with_flags", on::used_device, [&](auto& d, auto&) {
      *event = reinterpret_cast<void*>(d.last_handle_ += 16);
      d.events_.emplace(*event, std::make_shared<cuda_double::event>());
      return 0;
    });
  }

  static int event_record(void* event, void* stream) {
    return call("event_record", on::used_device, [&](auto& d, auto&) {
      if (find(d, d.events_, event, "an event") == nullptr)
        return invalid_handle;
      auto mark = d.events_.at(event);
      const auto count = ++mark->recorded;
      return queue(d, stream,
                   {.run =
                        [mark, count] {
                          mark->reached = count;
                          return 0;
                        },
                    .device = {},
                    .host = {}});
    });
  }

  static int event_query(void* event) {
    return call("event_query", on::any_device, [&](auto& d, auto&) -> int {
      const auto* found = find(d, d.events_, event, "an event");
      return found == nullptr ? invalid_handle : found->is_over() ? 0 : cuda_code::not_ready;
    });
  }

  static int event_synchronize(void* event) {
    return call("event_synchronize", on::any_device, [&](auto& d, auto& lock) {
      const auto* found = find(d, d.events_, event, "an event");
      if (found == nullptr)
        return invalid_handle;
      d.changed_.wait(lock, [&] { return found->is_over() || d.broken_ != 0; });
      return d.broken_;
    });
  }

  static int event_destroy(void* event) {
    return call(
        "event_destroy", on::any_device,
        [&](auto& d, auto&) {
          if (find(d, d.events_, event, "an event") == nullptr)
            return invalid_handle;
          d.events_.erase(event);
          return 0;
        },
        has::freed_nonetheless);
  }

  /// A kernel: as with CUDA, addresses that are nowhere show when it runs.
  static int launch(const char* name, void* stream, std::vector<cuda_double::range> device,
                    std::function<void()> kernel) {
    return call(name, on::used_device, [&](auto& d, auto&) {
      auto run = [&d, device, kernel = std::move(kernel)] {
        for (const auto& used : device)
          if (!d.holds(d.allocations_, used))
            return cuda_double::broken_work;
        kernel();
        return 0;
      };
      return queue(d, stream, {.run = std::move(run), .device = device, .host = {}});
    });
  }

  static int scatter(const cuda_scatter_batch* batch, void* stream) {
    std::vector<cuda_double::range> ranges;
    for (uint32_t i = 0; i < batch->count; ++i) {
      const auto& piece = batch->pieces[i];
      ranges.push_back({at(batch->packed + piece.source_offset_bytes), piece.length_bytes});
      ranges.push_back({at(piece.destination), piece.length_bytes});
    }
    return launch("scatter", stream, std::move(ranges), [copy = *batch] {
      for (uint32_t i = 0; i < copy.count; ++i)
        std::memcpy(at(copy.pieces[i].destination), at(copy.packed + copy.pieces[i].source_offset_bytes),
                    copy.pieces[i].length_bytes);
    });
  }

  static int cast(const cuda_cast* request, void* stream) {
    const auto from = types[request->from], to = types[request->to];
    return launch(
        "cast", stream,
        {{at(request->source), request->elements * bits(from) / 8},
         {at(request->destination), request->elements * bits(to) / 8}},
        [copy = *request, from, to] { cast_elements(at(copy.source), from, at(copy.destination), to, copy.elements); });
  }

  static int checksum_words(uint64_t source, uint64_t bytes, uint64_t* sum, void* stream) {
    return launch("checksum_words", stream, {{at(source), bytes}, {sum, sizeof *sum}},
                  [=] { *sum = longshore::checksum_words(0, {at(source), bytes}); });
  }
};

const cuda_table& cuda_double::table() const {
  using calls = cuda_double_calls;
  static constexpr cuda_table all{.version = cuda_table_version,
                                  .size_bytes = sizeof(cuda_table),
                                  .get_device_count = &calls::get_device_count,
                                  .set_device = &calls::set_device,
                                  .get_error_string = &calls::get_error_string,
                                  .mem_get_info = &calls::mem_get_info,
                                  .malloc = &calls::allocate,
                                  .free = &calls::release,
                                  .host_register = &calls::host_register,
                                  .host_unregister = &calls::host_unregister,
                                  .stream_create_with_flags = &calls::stream_create,
                                  .stream_destroy = &calls::stream_destroy,
                                  .stream_synchronize = &calls::stream_synchronize,
                                  .stream_wait_event = &calls::stream_wait_event,
                                  .memcpy_async = &calls::memcpy_async,
                                  .event_create_with_flags = &calls::event_create,
                                  .event_record = &calls::event_record,
                                  .event_query = &calls::event_query,
                                  .event_synchronize = &calls::event_synchronize,
                                  .event_destroy = &calls::event_destroy,
                                  .scatter = &calls::scatter,
                                  .cast = &calls::cast,
                                  .checksum_words = &calls::checksum_words};
  return all;
}

}  // namespace longshore
