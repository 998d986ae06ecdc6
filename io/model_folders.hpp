#pragma once
/// Where the file of a model lies below the model folders, laid out as ComfyUI lays them out.
///
/// Owns nothing; reads directories; safe from any thread.
/// Limits: a search for near names covers at most `max_listed_entries` files and folders a place,
/// at most `max_listed_depth` folders deep.
/// Failure: `bad_argument` for a name that could escape its folder and for a kind that has no folder, `not_found` with
/// the places looked at and the nearest names there, `io_failed` with errno where a place cannot be looked at.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cache/error.hpp"
#include "cache/model_kind.hpp"

namespace longshore {

struct folder_limits {
  size_t max_listed_entries = 10'000;
  int max_listed_depth = 8;
};

/// Folders of a root that hold models of a kind, the preferred one first; none for `data`.
std::span<const std::string_view> model_folders(model_kind kind);

/// The path of a model's file (or of a sharded model's index): the first root that has it in a folder of its kind.
/// Symbolic links are followed, to anywhere: people link models from other disks.
expected<std::string> find_model_file(const std::vector<std::string>& roots, model_kind kind, const std::string& name,
                                      folder_limits limits = {});

}  // namespace longshore
