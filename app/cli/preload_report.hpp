#pragma once
/// What `longshore preload` did, as a table or as JSON.
///
/// Owns nothing. Cannot fail.

#include <optional>
#include <vector>

#include "actors/runtime.hpp"
#include "io/preload_config.hpp"

namespace longshore {

/// What became of one entry of the configuration.
struct preloaded_entry {
  preload_entry entry;
  bool for_device = false;  ///< as the configuration has it
  preload_outcome outcome;
  std::optional<bool> digest_ok;  ///< nothing when it was not checked
  std::optional<error> failure;

  const leased_model* model() const { return outcome.answer.lease ? &outcome.answer.lease->model() : nullptr; }
  const char* where() const { return model() && !model()->device_files.empty() ? "device" : "host"; }
};

/// Prints it, with each failure on stderr; the exit code is that of the first failure.
int report_preloaded(const std::vector<preloaded_entry>& entries, runtime& loader, bool as_json);

}  // namespace longshore
