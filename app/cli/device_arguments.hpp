#pragma once
/// The options of a command that loads to a device, and the device that they describe.
///
/// Owns nothing. Failure: none; a wrong word or number is the command line's error.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "actors/runtime.hpp"
#include "app/cli/commands.hpp"

namespace longshore {

struct device_arguments {
  std::string name = "none";
  uint64_t capacity_bytes = uint64_t{8} << 30;
  double link_gb_per_s = 0;
  uint64_t staging_bytes = uint64_t{256} << 20;
  std::optional<uint64_t> pin_budget_bytes;
  size_t streams = 1;

  /// Adds --device, --device-capacity, --link, --staging, --pin-budget, --streams.
  void add_to(CLI::App& command);

  bool wanted() const { return name != "none"; }

  /// Makes the device and puts it into the options of a runtime.
  void apply_to(runtime_options& options) const;
};

}  // namespace longshore
