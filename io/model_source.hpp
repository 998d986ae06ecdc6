#pragma once
/// From what a person names (files, or a shard index) to what a load needs: each file with its identity and how to hold
/// it.
///
/// Owns nothing. Blocks on the file system, so it runs on the caller's thread and not in an actor. Failure:
/// `bad_argument` for options that do not go together, `not_found`, `io_failed`, `unsupported` (no regular file), and
/// what a shard index, or the header of a file that is to be cast in host memory, can be wrong about.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cache/error.hpp"
#include "cache/file_identity.hpp"
#include "io/safetensors.hpp"
#include "io/shard_index.hpp"

namespace longshore {

/// How a person asks for a file to be held. Automatic: mapped when the page cache has it already, owned when not.
enum class hold_choice : uint8_t { automatic, owned, pinned, mapped, device };

struct model_source {
  std::vector<file_source> files{};
  std::shared_ptr<const shard_index> index{};  ///< null when the files were named one by one
  std::string index_path{};
  std::string layout_tag{};  ///< differs when the index does
};

/// Whether the name is that of a shard index: it ends in ".index.json".
bool is_shard_index(const std::string& path);

struct source_options {
  hold_choice hold = hold_choice::automatic;
  double hot_share = 0.9;  ///< a file of which more is cached is mapped, when the choice is ours
  bool host_copy = false;  ///< of files for the device: see file_source
  /// What float tensors shall be: a type's name in the format, such as "F8_E4M3". A file in host memory of which that
  /// changes nothing is not cast; one that is cast cannot be mapped.
  std::string cast_to{};
};

/// The type of this name, if it is one that weights can be cast to; else `bad_argument`.
expected<dtype> cast_target(const std::string& name);

/// One path may be a shard index; several are the parts of one model, in their order.
expected<model_source> find_source(const std::vector<std::string>& paths, source_options options = {});

}  // namespace longshore
