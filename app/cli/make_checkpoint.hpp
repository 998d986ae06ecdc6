#pragma once
/// Writes a .safetensors file, or a sharded model, that has a real model's layout and made-up weights.
///
/// Tensors stand in the order in which the safetensors library writes them (wide types first, then by name), the header
/// is padded to 8 bytes, and a tensor's bytes depend on its name, type and the seed alone: the same in one file or
/// many. Owns nothing after it returns. Memory: one block. Blocks its thread for as long as the disk takes. Limits:
/// `checkpoint_options`. Thread rule: one call for a target at a time; calls for different ones may overlap. Failure:
/// nothing appears under the target's name and no part is left, unless a rename in the middle of a set of shards fails.
/// `errc::io_failed` with path and errno (ENOSPC and its like), `errc::bad_argument`, or `errc::cancelled` when
/// `progress` says to stop.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "app/cli/layout.hpp"
#include "cache/error.hpp"

namespace longshore {

/// Called after each block with the tensor bytes written so far and in all; false stops the work.
using write_progress = std::function<bool(uint64_t done_bytes, uint64_t total_bytes)>;

struct checkpoint_options {
  std::optional<dtype> float_type{};  ///< in place of the layout's own for every floating tensor
  uint64_t seed = 0;
  /// More than 1: X.safetensors becomes X-00001-of-0000N.safetensors and so on, with X.safetensors.index.json.
  size_t shards = 1;
  size_t max_shards = 64;
  size_t block_bytes = size_t{4} << 20;  ///< a multiple of 8
  write_progress progress{};
};

struct made_checkpoint {
  std::vector<std::string> paths;  ///< the file; or the shards in order, then the index
  size_t tensors = 0;
  uint64_t tensor_bytes = 0;  ///< without headers
};

expected<made_checkpoint> make_checkpoint(const layout& model, const std::string& path,
                                          const checkpoint_options& options = {});

/// What stands before the tensors' bytes in the file of a layout: all of it that says what they are.
std::string checkpoint_head(const layout& model);

}  // namespace longshore
