#pragma once
/// Opening one file of a model: its descriptors and its checked header, before any of its data is read.
///
/// Owns nothing of its own. Blocks on the disk, so actors call it on a thread that may. Failure: what opening, reading
/// or parsing gives, and `changed_on_disk` when the file is not the one that was asked for.

#include <memory>

#include "cache/error.hpp"
#include "io/model_file.hpp"
#include "io/safetensors.hpp"

namespace longshore {

struct opened_file {
  model_file file;
  std::shared_ptr<const safetensors_header> header;
};

expected<opened_file> open_model(const file_source& source);

/// Header and length checks alone, for whoever looks without loading. Reads nothing but the header.
expected<safetensors_header> read_header(const model_file& file);

}  // namespace longshore
