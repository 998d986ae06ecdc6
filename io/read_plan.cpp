#include "io/read_plan.hpp"

#include <algorithm>
#include <cassert>

namespace longshore {
namespace {

read_path choose(const plan_options& options, bool resident) {
  if (options.mapped)
    return read_path::populate;
  if (!options.direct_possible || options.mode == page_cache_mode::buffered)
    return read_path::buffered;
  if (options.mode == page_cache_mode::direct)
    return read_path::direct;
  return resident || options.leave_in_cache ? read_path::buffered : read_path::direct;
}

}  // namespace

std::string_view name(read_path path) {
  switch (path) {
    case read_path::direct:
      return "direct";
    case read_path::buffered:
      return "buffered";
    case read_path::populate:
      return "populate";
  }
  return "unknown";
}

std::string_view name(page_cache_mode mode) {
  switch (mode) {
    case page_cache_mode::automatic:
      return "auto";
    case page_cache_mode::direct:
      return "direct";
    case page_cache_mode::buffered:
      return "buffered";
  }
  return "unknown";
}

std::vector<chunk> plan_reads(uint64_t begin_bytes, uint64_t end_bytes, const plan_options& options,
                              const residency_probe& resident) {
  assert(options.alignment_bytes > 0 && options.chunk_bytes % options.alignment_bytes == 0);
  std::vector<chunk> plan;
  if (begin_bytes >= end_bytes)
    return plan;
  auto offset = begin_bytes / options.alignment_bytes * options.alignment_bytes;
  plan.reserve((end_bytes - offset) / options.chunk_bytes + 1);
  while (offset < end_bytes) {
    // Chunks end at multiples of their size: an uneven begin must not shift all that follow off the huge pages.
    const auto next = (offset / options.chunk_bytes + 1) * options.chunk_bytes;
    const auto own_bytes = std::min(next, end_bytes) - offset;
    const auto length = std::min(next + options.overlap_bytes, end_bytes) - offset;
    const auto cached = static_cast<double>(resident(offset, length));
    const auto is_resident = cached > options.resident_share * static_cast<double>(length);
    plan.push_back({offset, length, choose(options, is_resident), is_resident, length - own_bytes});
    offset += own_bytes;
  }
  return plan;
}

}  // namespace longshore
