#pragma once
/// What this machine can do at best: the yardsticks of `longshore bench`. Each does one plain thing with as little code
/// as possible, so that nothing of the runtime can make the yardstick longer or shorter.
///
/// Owns its memory and descriptors while it runs. Blocks its thread. Results in seconds of the steady clock. Failure:
/// as opening and reading; `unsupported` where the file system has no O_DIRECT.

#include <cstdint>
#include <span>
#include <string>

#include "cache/error.hpp"

namespace longshore {

/// Reads the file with O_DIRECT into memory that was touched before, over and over where that is less: the disk alone.
expected<double> time_disk_direct(const std::string& path, std::span<std::byte> memory);

/// Reads the file through the page cache, a thread a core, into memory that was not touched: a plain hot load.
expected<double> time_buffered_copy(const std::string& path);

/// Copies memory to memory, a thread a core.
double time_memory_copy(std::span<std::byte> destination, std::span<const std::byte> source);

/// Touches fresh memory, with huge pages where the system gives them.
double time_page_faults(uint64_t bytes);

/// Touches and frees that much memory. A virtual machine hands memory that was free for a while back to its host, and
/// pays for getting it again: up to ten times what a page fault costs. That is no part of any loader, so it is done
/// before the clock starts.
void warm_free_memory(uint64_t bytes);

/// Out of the page cache: for cold rounds.
expected<void> evict_from_page_cache(const std::string& path);

/// Into the page cache: for hot rounds.
expected<void> bring_into_page_cache(const std::string& path);

}  // namespace longshore
