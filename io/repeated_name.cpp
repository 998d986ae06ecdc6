#include "io/repeated_name.hpp"

#include <algorithm>
#include <functional>
#include <vector>

namespace longshore {
namespace {

/// Sorted by hash, so that long common beginnings are compared only where two hashes are equal.
struct hashed_name {
  size_t hash;
  size_t index;
};

}  // namespace

std::optional<size_t> repeated_name(std::span<const std::string_view> names) {
  std::vector<hashed_name> sorted;
  sorted.reserve(names.size());
  for (size_t i = 0; i < names.size(); ++i)
    sorted.push_back({std::hash<std::string_view>{}(names[i]), i});
  std::sort(sorted.begin(), sorted.end(), [&](const hashed_name& a, const hashed_name& b) {
    if (a.hash != b.hash)
      return a.hash < b.hash;
    const auto order = names[a.index].compare(names[b.index]);
    return order != 0 ? order < 0 : a.index < b.index;
  });
  std::optional<size_t> first;
  for (size_t i = 1; i < sorted.size(); ++i)
    if (sorted[i].hash == sorted[i - 1].hash && names[sorted[i].index] == names[sorted[i - 1].index])
      first = std::min(first.value_or(sorted[i].index), sorted[i].index);
  return first;
}

}  // namespace longshore
