#pragma once
/// A small JSON file as a tree, for what is read once and by field name. For the parsers of configurations, and no part
/// of what an installed library offers.
///
/// Owns nothing; pure; safe from any thread.
/// Limits: `max_depth` of the source; memory is a multiple of the text, so its size is for the caller to limit.
/// Failure: the source's code with the byte offset; a field that stands twice in one object is an error with its JSON
/// pointer, since a reader by name would silently see only one of the two.

#include <nlohmann/json.hpp>

#include "io/json_events.hpp"

namespace longshore {

expected<nlohmann::json> read_document(const json_source& source);

}  // namespace longshore
