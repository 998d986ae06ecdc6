#pragma once
/// The options of a command that loads to a device, and the device that they describe.
///
/// Owns nothing. Failure: a wrong word or number is the command line's error; a device that is not there, or an option
/// that it does not have, is an error of `apply_to`.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "actors/runtime.hpp"
#include "app/cli/commands.hpp"

namespace longshore {

struct device_arguments {
  std::string name = "none";
  std::optional<uint64_t> capacity_bytes{};
  std::optional<double> link_gb_per_s{};
  bool ready = false;
  uint64_t staging_bytes = uint64_t{256} << 20;
  std::optional<uint64_t> pin_budget_bytes{};
  size_t streams = 1;

  /// Adds --device, --device-capacity, --device-ready, --link, --staging, --pin-budget, --streams.
  void add_to(CLI::App& command);

  bool wanted() const { return name != "none"; }

  /// Makes the device and puts it into the options of a runtime. `unsupported` where CUDA, its driver or that GPU is
  /// missing.
  expected<void> apply_to(runtime_options& options) const;
};

}  // namespace longshore
