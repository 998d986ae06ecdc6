#pragma once
/// The middle of what was measured. Pure; `values` must not be empty.

#include <algorithm>
#include <cassert>
#include <vector>

namespace longshore {

inline double median(std::vector<double> values) {
  assert(!values.empty());
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace longshore
