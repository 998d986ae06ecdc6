#include "gpu/host_buffer.hpp"

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <thread>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

namespace longshore {
namespace {

constexpr auto granule = host_buffer::granule_bytes;
constexpr int populate_write = 23;  // MADV_POPULATE_WRITE of Linux 5.14, which older headers do not name

uint64_t rounded(uint64_t bytes) { return (bytes + granule - 1) / granule * granule; }

unexpected no_memory(const std::string& what, int code) {
  return unexpected(error{.code = errc::out_of_budget, .what = what, .os_error = code});
}

/// Addresses without memory or access, aligned to a huge page; nullptr where there are none.
std::byte* reserve(uint64_t size_bytes) {
  auto* reserved = ::mmap(nullptr, size_bytes + granule, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED)
    return nullptr;
  const auto begin = reinterpret_cast<uintptr_t>(reserved);
  const auto aligned = rounded(begin);
  if (aligned > begin)
    ::munmap(reserved, aligned - begin);
  if (begin + granule > aligned)
    ::munmap(reinterpret_cast<void*>(aligned + size_bytes), begin + granule - aligned);
#ifdef PR_SET_VMA_ANON_NAME
  ::prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, reinterpret_cast<void*>(aligned), size_bytes, "longshore pinned");
#endif
  return reinterpret_cast<std::byte*>(aligned);
}

/// Makes the pages of fresh memory exist; 0 or the system's errno.
int touch(std::byte* data, uint64_t size_bytes) {
  if (::madvise(data, size_bytes, populate_write) == 0)
    return 0;
  if (errno != EINVAL)
    return errno;
  const auto page_bytes = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  for (uint64_t at = 0; at < size_bytes; at += page_bytes)
    *static_cast<volatile std::byte*>(data + at) = std::byte{0};
  return 0;
}

/// As `touch`, a stretch for each of up to `threads` threads; this one takes what no thread was to be had for.
int touch_in_parallel(std::byte* data, uint64_t size_bytes, unsigned threads) {
  const auto stretch_bytes = rounded((size_bytes + threads - 1) / threads);
  std::vector<int> codes((size_bytes + stretch_bytes - 1) / stretch_bytes);
  const auto touch_stretch = [&](size_t i) {
    codes[i] = touch(data + i * stretch_bytes, std::min(stretch_bytes, size_bytes - i * stretch_bytes));
  };
  std::vector<std::thread> others;
  for (size_t i = 1; i < codes.size(); ++i) {
    try {
      others.emplace_back(touch_stretch, i);
    } catch (const std::system_error&) {
      touch_stretch(i);
    }
  }
  touch_stretch(0);
  for (auto& other : others)
    other.join();
  const auto failed = std::ranges::find_if(codes, [](int code) { return code != 0; });
  return failed == codes.end() ? 0 : *failed;
}

}  // namespace

expected<std::unique_ptr<host_buffer>> host_buffer::make(device& on, host_buffer_options options) {
  for (const auto bytes : {options.max_bytes, options.segment_bytes, options.min_segment_bytes})
    if (bytes == 0 || bytes % granule != 0 || bytes > ~uint64_t{0} - granule)
      return unexpected(error{.code = errc::bad_argument,
                              .what = "a pinned buffer's sizes are multiples of " + std::to_string(granule) +
                                      " bytes, and " + std::to_string(bytes) + " is none"});
  if (options.touch_threads == 0)
    options.touch_threads = std::max(1u, std::thread::hardware_concurrency());
  std::unique_ptr<host_buffer> made{new host_buffer(on, options)};
  made->data_ = reserve(options.max_bytes);
  const auto code = errno;
  if (made->data_ == nullptr)
    return no_memory("the system has no addresses for a buffer of " + std::to_string(options.max_bytes) + " bytes",
                     code);
  return made;
}

/// Memory that the driver still holds registered must not be unmapped under it.
host_buffer::~host_buffer() {
  if (data_ != nullptr && shrink_to(0))
    ::munmap(data_, options_.max_bytes);
}

expected<void> host_buffer::grow_to(uint64_t bytes) {
  if (bytes > options_.max_bytes)
    return unexpected(error{.code = errc::out_of_budget,
                            .what = "a pinned buffer of at most " + std::to_string(options_.max_bytes) +
                                    " bytes cannot grow to " + std::to_string(bytes)});
  auto piece_bytes = options_.segment_bytes;
  std::vector<host_segment> added;
  for (const auto& gap : gaps_before(rounded(bytes))) {
    auto filled = fill(gap, piece_bytes, added);
    if (filled)
      continue;
    for (const auto& segment : added)
      static_cast<void>(give_back(segment.offset_bytes));  // else it stays, and is counted
    return filled;
  }
  return {};
}

std::vector<host_segment> host_buffer::gaps_before(uint64_t end_bytes) const {
  std::vector<host_segment> gaps;
  uint64_t at = 0;
  const auto gap_until = [&](uint64_t next) {
    if (at < std::min(next, end_bytes))
      gaps.push_back({at, std::min(next, end_bytes) - at});
  };
  for (const auto& segment : segments_) {
    gap_until(segment.offset_bytes);
    at = segment.offset_bytes + segment.length_bytes;
  }
  gap_until(end_bytes);
  return gaps;
}

/// `piece_bytes` shrinks when the device refuses, and stays so for the rest of the call: what was refused once would
/// only be refused again. Pages of a refused segment are kept for its halves.
expected<void> host_buffer::fill(host_segment gap, uint64_t& piece_bytes, std::vector<host_segment>& added) {
  const auto end = gap.offset_bytes + gap.length_bytes;
  auto at = gap.offset_bytes, touched_end = at;
  while (at < end) {
    const host_segment next{at, std::min(piece_bytes, end - at)};
    expected<void> done;
    if (touched_end < at + next.length_bytes) {
      done = bring_in(touched_end, at + next.length_bytes - touched_end);
      touched_end = done ? at + next.length_bytes : touched_end;
    }
    const auto is_touched = done.has_value();
    if (is_touched)
      done = device_.register_host(data_ + at, next.length_bytes);
    if (done) {
      insert(next);
      added.push_back(next);
      at += next.length_bytes;
    } else if (is_touched && next.length_bytes > options_.min_segment_bytes) {
      piece_bytes = std::max(options_.min_segment_bytes, rounded(next.length_bytes / 2));
    } else {
      send_away(at, touched_end - at);
      return done;
    }
  }
  return {};
}

/// Usable, and with all pages there; or as before.
expected<void> host_buffer::bring_in(uint64_t offset_bytes, uint64_t length_bytes) {
  auto* begin = data_ + offset_bytes;
  if (::mprotect(begin, length_bytes, PROT_READ | PROT_WRITE) != 0) {
    const auto code = errno;
    return no_memory("the system refused to make " + std::to_string(length_bytes) + " bytes usable", code);
  }
  ::madvise(begin, length_bytes, MADV_HUGEPAGE);  // refused where there are none: small pages do
  if (const auto code = touch_in_parallel(begin, length_bytes, options_.touch_threads); code != 0) {
    send_away(offset_bytes, length_bytes);
    return no_memory("the system has no " + std::to_string(length_bytes) + " bytes of memory to pin", code);
  }
  return {};
}

void host_buffer::send_away(uint64_t offset_bytes, uint64_t length_bytes) {
  if (length_bytes == 0)
    return;
  ::madvise(data_ + offset_bytes, length_bytes, MADV_DONTNEED);
  ::mprotect(data_ + offset_bytes, length_bytes, PROT_NONE);
}

void host_buffer::insert(host_segment segment) {
  const auto at = std::ranges::upper_bound(segments_, segment.offset_bytes, {}, &host_segment::offset_bytes);
  segments_.insert(at, segment);
  registered_bytes_ += segment.length_bytes;
}

expected<void> host_buffer::shrink_to(uint64_t bytes) {
  while (!segments_.empty() && segments_.back().offset_bytes >= bytes)
    if (auto given = give_back(segments_.back().offset_bytes); !given)
      return given;
  return {};
}

expected<void> host_buffer::give_back(uint64_t offset_bytes) {
  const auto found = std::ranges::find(segments_, offset_bytes, &host_segment::offset_bytes);
  if (found == segments_.end())
    return unexpected(error{.code = errc::bad_argument,
                            .what = "no segment of the pinned buffer begins at " + std::to_string(offset_bytes)});
  if (auto unregistered = device_.unregister_host(data_ + offset_bytes); !unregistered)
    return unregistered;
  send_away(offset_bytes, found->length_bytes);
  registered_bytes_ -= found->length_bytes;
  segments_.erase(found);
  return {};
}

}  // namespace longshore
