#include "io/read_engine.hpp"

#include <algorithm>
#include <cerrno>
#include <thread>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "io/thread_engine.hpp"
#include "io/uring_engine.hpp"

namespace longshore {

std::string_view name(engine_kind kind) {
  switch (kind) {
    case engine_kind::automatic:
      return "auto";
    case engine_kind::io_uring:
      return "io_uring";
    case engine_kind::threads:
      return "threads";
  }
  return "unknown";
}

expected<std::unique_ptr<read_engine>> make_read_engine(const engine_options& options,
                                                        completion_callback on_complete) {
  if (options.kind != engine_kind::threads) {
    auto engine = make_uring_engine(options.depth, on_complete);
    if (engine || options.kind == engine_kind::io_uring)
      return engine;
  }
  return make_thread_engine(options.depth, std::move(on_complete));
}

size_t copies_at_once(size_t depth) {
  return std::min<size_t>(depth, std::max(1U, std::thread::hardware_concurrency()));
}

constexpr uint64_t page_bytes = 4096;

bool populate_pages(std::byte* destination, uint64_t length_bytes) {
  const auto address = reinterpret_cast<uintptr_t>(destination);
  const auto begin = address / page_bytes * page_bytes;
  return ::madvise(reinterpret_cast<void*>(begin), address + length_bytes - begin, MADV_POPULATE_WRITE) == 0;
}

void touch_pages(std::byte* destination, uint64_t length_bytes) {
  if (populate_pages(destination, length_bytes))
    return;
  for (uint64_t i = 0; i < length_bytes; i += page_bytes)  // before Linux 5.14
    *static_cast<volatile std::byte*>(destination + i) = std::byte{0};
}

int64_t read_now(const read_request& r) {
  if (r.path == read_path::populate) {
    // Without this the kernel reads a mapping ahead in small windows, at half of the disk's speed.
    ::posix_fadvise(r.fd, static_cast<off_t>(r.offset_bytes), static_cast<off_t>(r.length_bytes), POSIX_FADV_WILLNEED);
    if (::madvise(r.destination, r.length_bytes, MADV_POPULATE_READ) == 0)
      return static_cast<int64_t>(r.length_bytes);
    return errno == EINVAL ? static_cast<int64_t>(r.length_bytes) : -errno;  // old kernels fault on first use instead
  }
  if (r.path == read_path::direct)
    touch_pages(r.destination, r.length_bytes);
  const auto n = ::pread(r.fd, r.destination, r.length_bytes, static_cast<off_t>(r.offset_bytes));
  return n < 0 ? -errno : n;
}

}  // namespace longshore
