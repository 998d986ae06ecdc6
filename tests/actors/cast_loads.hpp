#pragma once
/// A file of all kinds of tensors, and loads of it that cast them.
///
/// Owns the file. One thread. Fails by failing expectations.

#include <string>
#include <vector>

#include "messages/slot.hpp"
#include "tests/actors/actor_fixture.hpp"

namespace longshore {

inline constexpr auto granule_bytes = arena_pool::granule_bytes;
inline constexpr uint64_t chunk_bytes = 16384, overlap_bytes = 4096;

class cast_loads : public testing::Test {
protected:
  /// Odd sizes: elements lie across the ends of chunks, and of blocks.
  static std::vector<made_tensor> tensors(size_t elements) {
    return {{"bytes", 3},
            {"half", elements * 2, "F16", 2},
            {"brain", 14, "BF16", 2},
            {"index", 24, "I64", 8},
            {"wide", elements / 2 * 4, "F32", 4},
            {"empty", 0, "F16", 2},
            {"small", 1'001, "F8_E4M3", 1}};
  }

  static world_options from_disk() {
    world_options options;
    options.holder.page_cache = page_cache_mode::direct;
    return options;
  }

  get_model request(hold_choice hold, const std::string& to) const { return files.request("m", {path}, hold, to); }
  get_model request(const std::string& to) const { return request(hold_choice::owned, to); }

  /// A request that nobody looked at who makes requests.
  get_model unchecked(hold_mode hold, const std::string& to) const {
    auto made = request(hold_choice::owned, "");
    made.source.files[0].hold = hold;
    made.source.files[0].cast_to = to;
    return made;
  }

  uint64_t slots_lent_at_most(actor_world& world) {
    auto asked = world.ask<staging_status>(world.casting.stager, show_staging{});
    world.run();
    return asked->answers.at(0).peak_bytes / granule_bytes;
  }

  model_files files;
  const std::string path = files.write("m", tensors(50'001), 1);
};

}  // namespace longshore
