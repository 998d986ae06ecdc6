#pragma once
/// What chance decides for a history of streams before it begins, and how a read fails.
///
/// Owns nothing; the same random numbers give the same choices. Cannot fail.

#include <cerrno>
#include <memory>
#include <random>

#include "io/faulty_engine.hpp"
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

inline fault any_fault(std::mt19937_64& random, const read_request& read) {
  switch (random() % 5) {
    case 0:
      return short_read{random() % (read.length_bytes + 1)};
    case 1:
      return failing_read{EIO};
    case 2:
      return failing_read{EAGAIN};
    default:
      return failing_read{EINTR};
  }
}

}  // namespace longshore
