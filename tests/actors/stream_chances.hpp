#pragma once
/// What chance decides for a history of streams before it begins.
///
/// Owns nothing; the same random numbers give the same choices. Cannot fail.

#include <memory>
#include <random>

#include "tests/actors/actor_fixture.hpp"
#include "tests/actors/streamed_files.hpp"

namespace longshore {

/// A stream, and what its history has come to.
struct stream_in_history {
  const streamed_test_model* model;
  std::shared_ptr<const layer_plan> plan{};
  std::vector<caf::actor> copies{};
  caf::actor actor{};
  uint64_t largest_layer_bytes = 0;
  uint64_t budget_bytes = 0;
  uint32_t next_layer = 0;
  bool has_ended = false;
};

inline world_options stream_world_options(std::mt19937_64& random) {
  world_options options;
  options.limit_bytes = 8 * arena_pool::granule_bytes;
  options.disk_depth = 1 + random() % 4;
  options.holder.credits = 1 + random() % 6;
  options.holder.chunk_bytes = random() % 2 == 0 ? 16384 : 1 << 16;
  options.holder.page_cache = random() % 4 == 0 ? page_cache_mode::direct : page_cache_mode::buffered;
  options.holder.pin_segment_bytes = arena_pool::granule_bytes;
  options.staging_bytes = (1 + random() % 2) * arena_pool::granule_bytes;
  options.pin_limit_bytes = random() % 4 * arena_pool::granule_bytes;
  options.device = std::make_shared<stepped_device>(options.holder.chunk_bytes + 200'000 + random() % 1'000'000);
  return options;
}

}  // namespace longshore
