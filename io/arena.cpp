#include "io/arena.hpp"

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <utility>

#include <sys/mman.h>
#include <sys/prctl.h>

namespace longshore {
namespace {

constexpr auto granule = arena_pool::granule_bytes;

/// Reserves addresses without memory, and makes the aligned part of them usable: the mapping is never larger than
/// asked.
std::byte* map_aligned(uint64_t size_bytes) {
  auto* reserved = ::mmap(nullptr, size_bytes + granule, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reserved == MAP_FAILED)
    return nullptr;
  const auto begin = reinterpret_cast<uintptr_t>(reserved);
  const auto aligned = (begin + granule - 1) / granule * granule;
  if (aligned > begin)
    ::munmap(reserved, aligned - begin);
  const auto end = begin + size_bytes + granule;
  if (end > aligned + size_bytes)
    ::munmap(reinterpret_cast<void*>(aligned + size_bytes), end - aligned - size_bytes);
  auto* data = reinterpret_cast<void*>(aligned);
  if (::mprotect(data, size_bytes, PROT_READ | PROT_WRITE) != 0) {
    const auto code = errno;
    ::munmap(data, size_bytes);
    errno = code;
    return nullptr;
  }
  ::madvise(data, size_bytes, MADV_HUGEPAGE);  // refused where there are none: small pages do
#ifdef PR_SET_VMA_ANON_NAME
  ::prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, data, size_bytes, "longshore arena");  // for whoever reads /proc/self/maps
#endif
  return static_cast<std::byte*>(data);
}

}  // namespace

arena::arena(arena&& other) noexcept
    : pool_(std::move(other.pool_)),
      data_(std::exchange(other.data_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)) {}

arena& arena::operator=(arena&& other) noexcept {
  std::swap(pool_, other.pool_);
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  return *this;
}

arena::~arena() {
  if (data_ != nullptr)
    pool_->give_back({data_, size_bytes_});
}

std::shared_ptr<arena_pool> arena_pool::make(uint64_t limit_bytes, uint64_t warm_bytes) {
  return std::shared_ptr<arena_pool>(new arena_pool(limit_bytes, warm_bytes));
}

arena_pool::~arena_pool() {
  assert(mapped_bytes_ == idle_bytes_);  // an arena in use keeps its pool
  trim_idle_to(0);
}

expected<arena> arena_pool::acquire(uint64_t bytes) {
  const auto size_bytes = std::max(rounded(bytes), granule_bytes);
  const std::lock_guard guard{mutex_};
  auto* data = take_idle(size_bytes);
  if (data == nullptr) {
    const auto in_use_bytes = mapped_bytes_ - idle_bytes_;
    if (size_bytes > limit_bytes_ || in_use_bytes > limit_bytes_ - size_bytes)
      return unexpected(error{.code = errc::out_of_budget,
                              .what = "an arena of " + std::to_string(size_bytes) +
                                      " bytes does not fit the limit of " + std::to_string(limit_bytes_) + " with " +
                                      std::to_string(in_use_bytes) + " in use"});
    const auto others_bytes = std::min(limit_bytes_, in_use_bytes + size_bytes + room_bytes_);
    trim_idle_to(limit_bytes_ - others_bytes);
    data = map_aligned(size_bytes);
    const auto code = errno;
    if (data == nullptr)
      return unexpected(error{.code = errc::out_of_budget,
                              .what = "the system refused to map " + std::to_string(size_bytes) + " bytes",
                              .os_error = code});
    mapped_bytes_ += size_bytes;
  }
  return arena{shared_from_this(), data, size_bytes};
}

/// The smallest idle arena that is large enough; what it has too much is unmapped, so that nothing is held unseen.
std::byte* arena_pool::take_idle(uint64_t size_bytes) {
  auto best = idle_.end();
  for (auto it = idle_.begin(); it != idle_.end(); ++it)
    if (it->size_bytes >= size_bytes && (best == idle_.end() || it->size_bytes < best->size_bytes))
      best = it;
  if (best == idle_.end())
    return nullptr;
  const auto found = *best;
  idle_.erase(best);
  idle_bytes_ -= found.size_bytes;
  if (found.size_bytes > size_bytes) {
    ::munmap(found.data + size_bytes, found.size_bytes - size_bytes);
    mapped_bytes_ -= found.size_bytes - size_bytes;
  }
  return found.data;
}

void arena_pool::trim_idle_to(uint64_t bytes) {
  auto it = idle_.begin();
  for (; it != idle_.end() && idle_bytes_ > bytes; ++it) {
    ::munmap(it->data, it->size_bytes);
    idle_bytes_ -= it->size_bytes;
    mapped_bytes_ -= it->size_bytes;
  }
  idle_.erase(idle_.begin(), it);
}

void arena_pool::give_back(range r) {
  const std::lock_guard guard{mutex_};
  idle_.push_back(r);
  idle_bytes_ += r.size_bytes;
  trim_idle_to(idle_limit_bytes());
}

uint64_t arena_pool::give_back_idle() {
  const std::lock_guard guard{mutex_};
  const auto bytes = idle_bytes_;
  trim_idle_to(0);
  return bytes;
}

std::shared_ptr<const void> arena_pool::leave_room(uint64_t bytes) {
  {
    const std::lock_guard guard{mutex_};
    room_bytes_ += bytes;
    trim_idle_to(idle_limit_bytes());
  }
  return {nullptr, [pool = shared_from_this(), bytes](const void*) {
            const std::lock_guard guard{pool->mutex_};
            pool->room_bytes_ -= bytes;
          }};
}

uint64_t arena_pool::idle_limit_bytes() const {
  const auto others_bytes = mapped_bytes_ - idle_bytes_ + room_bytes_;
  return std::min(warm_bytes_, limit_bytes_ - std::min(limit_bytes_, others_bytes));
}

uint64_t arena_pool::mapped_bytes() const {
  const std::lock_guard guard{mutex_};
  return mapped_bytes_;
}

uint64_t arena_pool::idle_bytes() const {
  const std::lock_guard guard{mutex_};
  return idle_bytes_;
}

}  // namespace longshore
