#include "io/cast_rule.hpp"

#include <algorithm>
#include <ranges>

namespace longshore {

expected<cast_rule> cast_rule::parse(std::string_view text) {
  cast_rule rule;
  for (const auto part : std::views::split(text, ',')) {
    const std::string_view one{part.begin(), part.end()};
    const auto equals = one.rfind('=');
    const auto name = equals == std::string_view::npos ? one : one.substr(equals + 1);
    const auto type = dtype_from_name(name);
    if (!type || !is_castable(*type))
      return unexpected(error{
          .code = errc::bad_argument,
          .what = "weights can be cast to F32, F16, BF16, F8_E4M3 or F8_E5M2, not to '" + std::string{name} + "'"});
    rule.types_by_prefix_.emplace_back(equals == std::string_view::npos ? "" : one.substr(0, equals), *type);
  }
  std::ranges::stable_sort(rule.types_by_prefix_,
                           [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
  return rule;
}

dtype cast_rule::type_of(const tensor_info& tensor) const {
  if (!is_castable(tensor.type))
    return tensor.type;
  const auto found =
      std::ranges::find_if(types_by_prefix_, [&](const auto& one) { return tensor.name.starts_with(one.first); });
  return found == types_by_prefix_.end() ? tensor.type : found->second;
}

}  // namespace longshore
