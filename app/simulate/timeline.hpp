#pragma once
/// A simulation as a picture made of text: a line for each model, for disk and link, and for each kind of memory, with
/// time to the right.
///
/// Owns nothing; pure; safe from any thread; cannot fail. Limit: no line is longer than `columns`.

#include <string>

#include "app/simulate/simulation.hpp"

namespace longshore {

std::string timeline_text(const scenario& what, const simulation_result& result, size_t columns = 100);

}  // namespace longshore
