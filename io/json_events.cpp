#include "io/json_events.hpp"

#include <algorithm>

namespace longshore {

std::string pointer_step(std::string_view name) {
  std::string step = "/";
  for (auto c : name) {
    if (c == '~')
      step += "~0";
    else if (c == '/')
      step += "~1";
    else
      step += c;
  }
  return step;
}

std::string syntax_message(std::string_view problem, std::string_view text, size_t offset) {
  const auto before = text.substr(0, offset);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const auto line_begin = before.rfind('\n') + 1;  // none found: npos + 1 is 0
  auto message = "not valid JSON at line " + std::to_string(line) + ", column " +
                 std::to_string(offset - line_begin + 1) + ": " + std::string(problem);
  const auto rest = text.substr(offset);
  if (rest.empty())
    return message + ", found the end";
  if (rest.starts_with("\xEF\xBB\xBF"))
    return message + ", found a byte order mark; save the text as UTF-8 without one";
  const auto code = static_cast<unsigned char>(rest.front());
  if (code > ' ' && code < 0x7F)
    return message + ", found " + rest.front();
  return message + ", found byte " + std::to_string(code);
}

}  // namespace longshore
