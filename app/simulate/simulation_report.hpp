#pragma once
/// The totals of a simulation, for a person and for a program.
///
/// Owns nothing; pure; safe from any thread; cannot fail.

#include <string>

#include <nlohmann/json.hpp>

#include "app/simulate/simulation.hpp"

namespace longshore {

/// The steps, the totals against what is possible at best, and the peaks against their limits.
std::string totals_text(const scenario& what, const simulation_result& result);

/// The same as data, with the history of each model. Times in seconds, sizes in bytes.
nlohmann::ordered_json simulation_json(const scenario& what, const simulation_result& result);

}  // namespace longshore
