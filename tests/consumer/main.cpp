// What a stranger's program does with the installed library: include, link, call.
#include <cache/error.hpp>
#include <iostream>

int main() {
  const longshore::error e{.code = longshore::errc::not_found, .what = "no such model", .path = "a.safetensors"};
  const auto text = to_text(e);
  std::cout << text << '\n';
  return text.find("a.safetensors") == std::string::npos ? 1 : 0;
}
