#include "cache/nearest.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace longshore {
namespace {

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (auto& c : lower)
    if (c >= 'A' && c <= 'Z')
      c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

void cut_common_ends(std::string_view& a, std::string_view& b) {
  const auto head = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
  a.remove_prefix(static_cast<size_t>(head));
  b.remove_prefix(static_cast<size_t>(head));
  const auto tail = std::mismatch(a.rbegin(), a.rend(), b.rbegin(), b.rend()).first - a.rbegin();
  a.remove_suffix(static_cast<size_t>(tail));
  b.remove_suffix(static_cast<size_t>(tail));
}

/// Letters to insert, delete, change or swap with the next, or anything above `cutoff` once it is sure to be above it.
size_t edit_distance(std::string_view a, std::string_view b, size_t cutoff, size_t max_compared_bytes) {
  cut_common_ends(a, b);
  const auto length_gap = a.size() > b.size() ? a.size() - b.size() : b.size() - a.size();
  if (length_gap > cutoff)
    return length_gap;
  a = a.substr(0, max_compared_bytes);
  b = b.substr(0, max_compared_bytes);
  std::vector<size_t> last_but_one(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    last_but_one.swap(last);
    last.swap(row);
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      row[j + 1] = std::min({last[j] + (a[i] == b[j] ? 0 : 1), row[j] + 1, last[j + 1] + 1});
      if (i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j])
        row[j + 1] = std::min(row[j + 1], last_but_one[j - 1] + 1);
    }
    const auto least = *std::min_element(row.begin(), row.end());
    if (least > cutoff)  // later rows never get smaller
      return least;
  }
  return row.back();
}

}  // namespace

std::vector<std::string> nearest(std::string_view wanted, std::span<const std::string> candidates,
                                 nearest_limits limits) {
  const auto lower_wanted = lower_case(wanted);
  std::vector<std::pair<size_t, const std::string*>> near;
  for (const auto& candidate : candidates) {
    const auto lower = lower_case(candidate);
    const auto longer = std::max(lower.size(), lower_wanted.size());
    const auto cutoff = std::max<size_t>(2, std::min(longer, limits.max_compared_bytes) / 3);
    const auto contained = wanted.size() >= limits.min_contained_bytes && lower.find(lower_wanted) != std::string::npos;
    const auto distance = edit_distance(lower_wanted, lower, cutoff, limits.max_compared_bytes);
    if (contained || (distance <= cutoff && distance < longer))
      near.emplace_back(distance, &candidate);
  }
  std::sort(near.begin(), near.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : *a.second < *b.second;
  });
  std::vector<std::string> results;
  for (const auto& [distance, candidate] : near) {
    if (results.size() == limits.max_results)
      break;
    if (results.empty() || results.back() != *candidate)
      results.push_back(*candidate);
  }
  return results;
}

std::string did_you_mean(std::string_view wanted, std::span<const std::string> candidates, nearest_limits limits) {
  const auto names = nearest(wanted, candidates, limits);
  std::string text;
  for (size_t i = 0; i < names.size(); ++i) {
    text += i == 0 ? "; did you mean " : (i + 1 == names.size() ? " or " : ", ");
    text += '"' + names[i] + '"';
  }
  return text.empty() ? text : text + "?";
}

}  // namespace longshore
