#pragma once
/// What the kernel's page cache holds of a file. Owns nothing; any thread; never reads the disk.
///
/// Source: cachestat(2), Linux 6.5; mincore(2) on a mapping where the kernel is older or refuses. mincore answers
/// "resident" for files that the caller may not write, which then are read through the page cache: slower, never wrong.

#include <cstdint>

#include "cache/error.hpp"

namespace longshore {

/// Bytes of [offset, offset + length) that are in the page cache, rounded to pages. Fails with `io_failed`.
expected<uint64_t> resident_bytes(int fd, uint64_t offset_bytes, uint64_t length_bytes);

/// The same, judged by the first 64 KiB of each MiB: the kernel looks at every page that it is asked about, and for a
/// cached file that took an eighth of the time of loading it. What is cached lies together, in windows of read-ahead.
expected<uint64_t> estimated_resident_bytes(int fd, uint64_t offset_bytes, uint64_t length_bytes);

/// Asks the kernel to let go of the range's clean pages (a hint: dirty and mapped pages stay).
void drop_from_page_cache(int fd, uint64_t offset_bytes, uint64_t length_bytes);

}  // namespace longshore
