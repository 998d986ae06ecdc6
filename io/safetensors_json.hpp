#pragma once
/// The JSON text of a safetensors header, as fields. Internal to io/; `parse_header` is the way in.
///
/// Owns nothing; pure; safe from any thread. Checks the JSON and the fields, not what their numbers mean together.
/// Limits: `header_limits::max_depth`. Failure: `errc::bad_format`, see safetensors.hpp.
///
/// As in the reference, a tensor is an object with three required fields and any others, or an array of the three in
/// the order dtype, shape, data_offsets; and a dtype is a name, or an object of that name to null.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/safetensors.hpp"

namespace longshore {

struct header_fields {
  std::vector<tensor_info> tensors;                           ///< in the header's order
  std::vector<uint64_t> name_offsets_bytes;                   ///< of each, just behind its name in the file
  std::vector<std::pair<std::string, std::string>> metadata;  ///< as in `safetensors_header`
};

expected<header_fields> read_header_fields(std::string_view json, const std::string& path, const header_limits& limits);

}  // namespace longshore
