#pragma once
/// The index of a sharded model (`*.safetensors.index.json`): which tensor is in which file.
///
/// Owns nothing; pure (no file is opened); safe from any thread.
/// Limits: `index_limits`. Failure: `errc::bad_format` with the path of the index and, in `where`, the JSON pointer of
/// the wrong value or (from `check_shards`) the tensor's name.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cache/error.hpp"

namespace longshore {

struct shard_index {
  std::optional<uint64_t> total_size_bytes;  ///< as written; files in the wild are known to have it wrong
  std::vector<std::string> files;            ///< each once, relative to the index, in the order of first use
  std::vector<std::pair<std::string, uint32_t>> weight_map;  ///< tensor to position in `files`, in the file's order
};

struct index_limits {
  uint64_t max_index_bytes = 64 << 20;
  size_t max_files = 10'000;
  unsigned max_depth = 127;  ///< objects and arrays within each other, the outermost included
};

/// `weight_map` is required and names at least one tensor; unknown fields are skipped.
expected<shard_index> parse_shard_index(std::string_view json, const std::string& path, index_limits limits = {});

/// Whether index and files agree: each tensor of the map in its file, none in two files, none that the map lacks.
/// `names_by_file` holds the tensor names of each file, in the order of `index.files`.
expected<void> check_shards(const shard_index& index, const std::string& index_path,
                            std::span<const std::vector<std::string_view>> names_by_file);

}  // namespace longshore
