#include "app/cli/machine_limits.hpp"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "io/arena.hpp"
#include "io/model_file.hpp"
#include "io/page_cache.hpp"
#include "io/read_engine.hpp"
#include "io/trace_ring.hpp"

namespace longshore {
namespace {

constexpr uint64_t block_bytes = 8 << 20;

double seconds_since(uint64_t begin_ns) { return static_cast<double>(trace_now_ns() - begin_ns) / 1e9; }

/// Runs `work(i)` for each block of `bytes` on a thread a core.
template <class Work>
void on_all_cores(uint64_t bytes, Work work) {
  const auto threads = std::max(1U, std::thread::hardware_concurrency());
  std::vector<std::jthread> workers;
  for (unsigned t = 0; t < threads; ++t)
    workers.emplace_back([=] {
      for (auto offset = t * block_bytes; offset < bytes; offset += threads * block_bytes)
        work(offset, std::min(block_bytes, bytes - offset));
    });
}

/// Counts what is in flight, for a plain loop around an engine.
struct window {
  std::mutex mutex;
  std::condition_variable changed;
  size_t in_flight = 0;
  int64_t first_error = 0;

  void enter(size_t depth) {
    std::unique_lock lock{mutex};
    changed.wait(lock, [&] { return in_flight < depth; });
    ++in_flight;
  }
  void leave(int64_t result) {
    const std::lock_guard guard{mutex};
    --in_flight;
    first_error = result < 0 && first_error == 0 ? result : first_error;
    changed.notify_all();
  }
  void drain() {
    std::unique_lock lock{mutex};
    changed.wait(lock, [&] { return in_flight == 0; });
  }
};

}  // namespace

expected<double> time_disk_direct(const std::string& path, std::span<std::byte> memory) {
  const auto file = model_file::open(path);
  if (!file)
    return unexpected(file.error());
  if (file->direct_fd() < 0)
    return unexpected(error{.code = errc::unsupported, .what = "the file system has no O_DIRECT", .path = path});
  window reads;
  const engine_options options;
  auto engine = make_read_engine(options, [&](const read_completion& c) { reads.leave(c.result); });
  if (!engine)
    return tl::unexpected(engine.error());
  const auto alignment = file->direct_alignment_bytes();
  const auto room = std::max(block_bytes, memory.size_bytes() / block_bytes * block_bytes);
  const auto begin_ns = trace_now_ns();
  for (uint64_t offset = 0; offset < file->size_bytes(); offset += block_bytes) {
    reads.enter(options.depth);
    const auto length = std::min(block_bytes, file->size_bytes() - offset);
    (*engine)->submit({.tag = offset,
                       .fd = file->direct_fd(),
                       .offset_bytes = offset,
                       .destination = memory.data() + offset % room,
                       .length_bytes = (length + alignment - 1) / alignment * alignment,
                       .path = read_path::direct});
  }
  reads.drain();
  if (reads.first_error < 0)
    return unexpected(error{.code = errc::io_failed,
                            .what = "cannot read the file",
                            .path = path,
                            .os_error = static_cast<int>(-reads.first_error)});
  return seconds_since(begin_ns);
}

expected<double> time_buffered_copy(const std::string& path) {
  const auto file = model_file::open(path);
  if (!file)
    return unexpected(file.error());
  const auto pool = arena_pool::make(~uint64_t{0}, 0);
  const auto begin_ns = trace_now_ns();
  auto memory = pool->acquire(file->size_bytes());
  if (!memory)
    return unexpected(memory.error());
  on_all_cores(file->size_bytes(), [&](uint64_t offset, uint64_t length) {
    std::ignore = file->read_at({memory->data() + offset, length}, offset);
  });
  return seconds_since(begin_ns);
}

double time_memory_copy(std::span<std::byte> destination, std::span<const std::byte> source) {
  const auto begin_ns = trace_now_ns();
  on_all_cores(source.size(), [&](uint64_t offset, uint64_t length) {
    std::memcpy(destination.data() + offset, source.data() + offset, length);
  });
  return seconds_since(begin_ns);
}

double time_page_faults(uint64_t bytes) {
  const auto pool = arena_pool::make(~uint64_t{0}, 0);
  const auto begin_ns = trace_now_ns();
  auto memory = pool->acquire(bytes);
  if (!memory)
    return 0;
  on_all_cores(bytes, [&](uint64_t offset, uint64_t length) { touch_pages(memory->data() + offset, length); });
  return seconds_since(begin_ns);
}

void warm_free_memory(uint64_t bytes) { std::ignore = time_page_faults(bytes); }

expected<void> evict_from_page_cache(const std::string& path) {
  const auto file = model_file::open(path);
  if (!file)
    return unexpected(file.error());
  ::fsync(file->fd());  // dirty pages would stay
  drop_from_page_cache(file->fd(), 0, file->size_bytes());
  return {};
}

expected<void> bring_into_page_cache(const std::string& path) {
  const auto file = model_file::open(path);
  if (!file)
    return unexpected(file.error());
  std::vector<std::byte> block(block_bytes);
  for (uint64_t offset = 0; offset < file->size_bytes(); offset += block_bytes)
    if (auto read = file->read_at(std::span{block}.first(std::min(block_bytes, file->size_bytes() - offset)), offset);
        !read)
      return read;
  return {};
}

}  // namespace longshore
