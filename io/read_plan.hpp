#pragma once
/// Which bytes to read, in which pieces and how: plans are data, made by pure functions.
///
/// A chunk's length is what the file has there; a direct read may ask for more (up to the alignment) and gets less at
/// the file's end. Chunks cover the range without gap, and without overlap unless one is asked for, in file order. No
/// I/O, no thread, cannot fail.

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace longshore {

/// How bytes come from the disk.
enum class read_path : uint8_t {
  direct,    ///< O_DIRECT into memory: no copy by the CPU, nothing left in the page cache
  buffered,  ///< copied out of the page cache
  populate,  ///< mapped: the page cache is the memory; its pages are brought in and entered in the page table
};

/// Which read paths a load may take. Automatic: direct for what is not cached, since a copy would cost CPU; buffered
/// for what is, since the disk would be slower than the copy (3 to 4 times, measured).
enum class page_cache_mode : uint8_t { automatic, direct, buffered };

std::string_view name(read_path path);
std::string_view name(page_cache_mode mode);

struct chunk {
  uint64_t offset_bytes;
  uint64_t length_bytes;
  read_path path;
  bool was_resident;           ///< mostly in the page cache when planned
  uint64_t overlap_bytes = 0;  ///< at its end, which the next chunk has too

  uint64_t own_bytes() const { return length_bytes - overlap_bytes; }
  friend bool operator==(const chunk&, const chunk&) = default;
};

struct plan_options {
  uint64_t chunk_bytes = 8 << 20;
  uint64_t alignment_bytes = 4096;  ///< of the range's begin; a power of two
  page_cache_mode mode = page_cache_mode::automatic;
  bool direct_possible = true;
  bool mapped = false;          ///< populate a mapping instead of reading into an arena
  bool leave_in_cache = false;  ///< cold chunks are read buffered too, so that the next reader finds them
  double resident_share = 0.5;  ///< a chunk of which more is cached is read buffered
  uint64_t overlap_bytes = 0;   ///< read once more beyond each chunk's end; a multiple of the alignment
};

/// Bytes of a range that the page cache holds.
using residency_probe = std::function<uint64_t(uint64_t offset_bytes, uint64_t length_bytes)>;

/// Chunks for [begin, end) of a file; begin is rounded down to the alignment.
std::vector<chunk> plan_reads(uint64_t begin_bytes, uint64_t end_bytes, const plan_options& options,
                              const residency_probe& resident);

}  // namespace longshore
