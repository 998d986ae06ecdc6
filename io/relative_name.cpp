#include "io/relative_name.hpp"

namespace longshore {

std::string_view relative_name_flaw(std::string_view name) {
  if (name.empty())
    return "must not be empty";
  if (name.find('\0') != std::string_view::npos)
    return "must not hold a NUL character";
  if (name.find('\\') != std::string_view::npos)
    return "must not hold a backslash; write / between folders";
  if (name.front() == '/')
    return "must be relative, not begin with /";
  while (true) {
    const auto slash = name.find('/');
    const auto step = name.substr(0, slash);
    if (step == "..")
      return "must not leave its folder through \"..\"";
    if (step.empty() || step == ".")
      return "must not hold empty or \".\" steps";
    if (slash == std::string_view::npos)
      return {};
    name.remove_prefix(slash + 1);
  }
}

}  // namespace longshore
