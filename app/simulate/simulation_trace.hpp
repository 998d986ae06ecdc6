#pragma once
/// A simulation as a file for ui.perfetto.dev: what each model was when, each read and copy, and memory as counters.
///
/// Owns nothing. Blocks on the disk. Time in the file is virtual and begins at 0. Failure: as perfetto_writer.

#include <string>

#include "app/simulate/simulation.hpp"

namespace longshore {

expected<void> write_simulation_trace(const scenario& what, const simulation_result& result, const std::string& path);

}  // namespace longshore
