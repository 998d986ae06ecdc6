// Casts elements on stdin to stdout: cast_tool F16 F8_E4M3 < in > out. For comparing the casts with another library's.
#include <cstdio>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "gpu/cast.hpp"

using namespace longshore;

namespace {

constexpr size_t block_elements = 1 << 18;

struct element_type {
  dtype type;
  size_t bytes;
};

/// By the five names that there are: the whole table of types would bring the parser's sources in.
std::optional<element_type> type_named(std::string_view name) {
  const std::pair<std::string_view, element_type> types[] = {{"F32", {dtype::F32, 4}},
                                                             {"F16", {dtype::F16, 2}},
                                                             {"BF16", {dtype::BF16, 2}},
                                                             {"F8_E4M3", {dtype::F8_E4M3, 1}},
                                                             {"F8_E5M2", {dtype::F8_E5M2, 1}}};
  for (const auto& [known, type] : types)
    if (known == name)
      return type;
  return std::nullopt;
}

}  // namespace

int main(int count, char** arguments) {
  const auto from = count == 3 ? type_named(arguments[1]) : std::nullopt;
  const auto to = count == 3 ? type_named(arguments[2]) : std::nullopt;
  if (!from || !to) {
    std::fputs("usage: cast_tool FROM TO < elements > elements; types: F32 F16 BF16 F8_E4M3 F8_E5M2\n", stderr);
    return 2;
  }
  std::vector<std::byte> before(block_elements * from->bytes), after(block_elements * to->bytes);
  while (const auto elements = std::fread(before.data(), from->bytes, block_elements, stdin)) {
    cast_elements(before.data(), from->type, after.data(), to->type, elements);
    if (std::fwrite(after.data(), to->bytes, elements, stdout) != elements)
      return 1;
  }
  return std::ferror(stdin) ? 1 : 0;
}
