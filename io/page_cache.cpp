#include "io/page_cache.hpp"

#include <algorithm>
#include <cerrno>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace longshore {
namespace {

constexpr uint64_t page_bytes = 4096;
constexpr long cachestat_syscall = 451;  // the same number on every architecture; glibc 2.36 has no name for it

struct cachestat_range {
  uint64_t offset;
  uint64_t length;
};

struct cachestat_answer {
  uint64_t cached, dirty, writeback, evicted, recently_evicted;  // in pages
};

expected<uint64_t> resident_by_mincore(int fd, uint64_t offset_bytes, uint64_t length_bytes) {
  const auto begin = offset_bytes / page_bytes * page_bytes;
  const auto length = offset_bytes + length_bytes - begin;
  auto* address = ::mmap(nullptr, length, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(begin));
  if (address == MAP_FAILED)
    return unexpected(error{.code = errc::io_failed, .what = "cannot map the file to probe it", .os_error = errno});
  std::vector<unsigned char> pages((length + page_bytes - 1) / page_bytes);
  const auto failed = ::mincore(address, length, pages.data()) != 0;
  const auto code = errno;
  ::munmap(address, length);
  if (failed)
    return unexpected(error{.code = errc::io_failed, .what = "cannot probe the page cache", .os_error = code});
  const auto resident = std::count_if(pages.begin(), pages.end(), [](auto page) { return page & 1; });
  return std::min(static_cast<uint64_t>(resident) * page_bytes, length_bytes);
}

}  // namespace

expected<uint64_t> resident_bytes(int fd, uint64_t offset_bytes, uint64_t length_bytes) {
  if (length_bytes == 0)
    return 0;
  const cachestat_range range{offset_bytes, length_bytes};
  cachestat_answer answer{};
  if (::syscall(cachestat_syscall, fd, &range, &answer, 0) != 0)
    return resident_by_mincore(fd, offset_bytes, length_bytes);
  return std::min(answer.cached * page_bytes, length_bytes);
}

expected<uint64_t> estimated_resident_bytes(int fd, uint64_t offset_bytes, uint64_t length_bytes) {
  constexpr uint64_t sample_bytes = 64 << 10, stride_bytes = 1 << 20;
  uint64_t probed_bytes = 0, cached_bytes = 0;
  for (uint64_t done = 0; done < length_bytes; done += stride_bytes) {
    const auto piece_bytes = std::min(sample_bytes, length_bytes - done);
    const auto cached = resident_bytes(fd, offset_bytes + done, piece_bytes);
    if (!cached)
      return cached;
    probed_bytes += piece_bytes;
    cached_bytes += *cached;
  }
  if (probed_bytes == 0)
    return 0;
  const auto share = static_cast<double>(cached_bytes) / static_cast<double>(probed_bytes);
  return static_cast<uint64_t>(share * static_cast<double>(length_bytes));
}

void drop_from_page_cache(int fd, uint64_t offset_bytes, uint64_t length_bytes) {
  ::posix_fadvise(fd, static_cast<off_t>(offset_bytes), static_cast<off_t>(length_bytes), POSIX_FADV_DONTNEED);
}

}  // namespace longshore
