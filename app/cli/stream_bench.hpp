#pragma once
/// Passes through a model whose layers are streamed, with a compute of a set rate: how near a step comes to the slower
/// of compute and link.
///
/// The device is a host device, so its link has the rate that is asked for; the compute is a wait that lasts as long as
/// a layer's bytes would take, in a sequence of its own, as a device's would. Owns nothing between calls. Failure: the
/// runtime's.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cache/error.hpp"
#include "io/model_source.hpp"
#include "messages/stream.hpp"

namespace longshore {

/// Where layers come from: a copy in host memory, held as said, or the disk.
enum class stream_origin : uint8_t { pinned, owned, mapped, disk };

struct stream_case {
  std::string path;
  stream_origin origin = stream_origin::pinned;
  size_t layers = 64;         ///< the file's tensors in its order, cut into so many of like size; 0: its own blocks
  double budget_share = 0.5;  ///< of the model, on the device
  double compute_bytes_per_s = 1e9;
  double link_bytes_per_s = 1e9;  ///< 0: as fast as memory
  unsigned passes = 5;            ///< measured, after two that are not
  std::string trace_path{};
};

struct stream_pass {
  double seconds = 0;
  uint64_t moved_bytes = 0;
};

struct stream_result {
  uint64_t model_bytes = 0;
  uint64_t budget_bytes = 0;
  size_t layers = 0;
  double compute_seconds = 0;  ///< of a pass, if nothing had to be waited for
  std::vector<stream_pass> passes{};
  stream_status status{};
};

/// `go_on`: asked between layers; false ends it as `cancelled`.
expected<stream_result> measure_stream(const stream_case& wanted, const std::function<bool()>& go_on);

}  // namespace longshore
