#pragma once
/// Digests of the tensors of a file on disk, whatever its size: read once, in order, a block at a time.
///
/// Owns one block of memory while it runs. Blocks its thread. An independent second way to the bytes: plain reads
/// through the page cache, no engine, no arena. Failure: as reading, `changed_on_disk`, and `cancelled` when told to
/// stop.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cache/error.hpp"
#include "io/model_file.hpp"
#include "io/safetensors.hpp"

namespace longshore {

/// Called after each block with the data bytes read so far; false stops the work.
using digest_progress = std::function<bool(uint64_t done_bytes)>;

struct digest_options {
  uint64_t block_bytes = 8 << 20;
  digest_progress progress{};
};

/// XXH3-128 in hex of each tensor, in the header's order.
expected<std::vector<std::string>> digest_file(const model_file& file, const safetensors_header& header,
                                               const digest_options& options = {});

}  // namespace longshore
