#pragma once
/// The memory that owned models live in: contiguous, page-aligned ranges, and a pool that keeps freed ones warm.
///
/// `arena_pool` owns every mapping. Limit: mapped bytes (in use and idle) never exceed `limit_bytes`; idle arenas are
/// unmapped first, and what then does not fit is `out_of_budget`. At most `warm_bytes` stay idle: touching fresh memory
/// costs about half of what a read from the page cache does, so an arena that is used again saves that.
/// Thread rule: all of it from any thread (a mutex inside). An arena keeps its pool alive.
/// Huge pages are asked for and done without where the system has none.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "cache/error.hpp"

namespace longshore {

class arena_pool;

/// One contiguous range of memory, move-only. Gives itself back to its pool. Fresh pages read as zero, warm ones as
/// whatever was there before: only bytes that a read has filled mean anything.
class arena {
public:
  arena() = default;
  arena(arena&& other) noexcept;
  arena& operator=(arena&& other) noexcept;
  ~arena();

  std::byte* data() const { return data_; }
  size_t size_bytes() const { return size_bytes_; }

private:
  friend class arena_pool;
  arena(std::shared_ptr<arena_pool> pool, std::byte* data, size_t size_bytes)
      : pool_(std::move(pool)), data_(data), size_bytes_(size_bytes) {}

  std::shared_ptr<arena_pool> pool_;
  std::byte* data_ = nullptr;
  size_t size_bytes_ = 0;
};

class arena_pool : public std::enable_shared_from_this<arena_pool> {
public:
  static constexpr uint64_t granule_bytes = 2 << 20;  ///< arenas are whole huge pages

  static std::shared_ptr<arena_pool> make(uint64_t limit_bytes, uint64_t warm_bytes);
  ~arena_pool();
  arena_pool(const arena_pool&) = delete;
  arena_pool& operator=(const arena_pool&) = delete;

  /// What an arena for `bytes` really takes. Reservations are made in this. The largest sizes do not wrap to small
  /// ones.
  static uint64_t rounded(uint64_t bytes) {
    const auto most_bytes = ~uint64_t{0} - (granule_bytes - 1);
    return bytes > most_bytes ? most_bytes : (bytes + granule_bytes - 1) / granule_bytes * granule_bytes;
  }

  expected<arena> acquire(uint64_t bytes);

  /// Unmaps all idle arenas: the system needs the memory more than the next load does. How much that was.
  uint64_t give_back_idle();

  /// Keeps idle arenas out of so many bytes of the limit, for others who share it, as long as the answer lives. What is
  /// in use is not looked at.
  std::shared_ptr<const void> leave_room(uint64_t bytes);

  uint64_t limit_bytes() const { return limit_bytes_; }
  uint64_t mapped_bytes() const;
  uint64_t idle_bytes() const;

private:
  friend class arena;
  struct range {
    std::byte* data;
    uint64_t size_bytes;
  };

  arena_pool(uint64_t limit_bytes, uint64_t warm_bytes) : limit_bytes_(limit_bytes), warm_bytes_(warm_bytes) {}
  void give_back(range r);
  std::byte* take_idle(uint64_t size_bytes);
  void trim_idle_to(uint64_t bytes);
  uint64_t idle_limit_bytes() const;

  mutable std::mutex mutex_;
  std::vector<range> idle_;  // the least recently given back first
  uint64_t limit_bytes_, warm_bytes_;
  uint64_t mapped_bytes_ = 0, idle_bytes_ = 0;
  uint64_t room_bytes_ = 0;  // of the limit, for others
};

}  // namespace longshore
