#pragma once
/// The one way in which every contestant's bytes are touched, so that a mapping cannot win by never reading its file.
///
/// Owns nothing. One thread, no limits, cannot fail: the caller promises that each range is readable.

#include <cstddef>
#include <cstdint>

/// Reads one byte of every 4 KiB page of each range; the sum keeps the reads from being optimised away.
extern "C" uint64_t touch_pages(const void* const* addresses, const uint64_t* lengths_bytes, size_t count);
