#include "app/cli/shared_file.hpp"

#include <filesystem>
#include <system_error>
#include <vector>

namespace longshore {

std::optional<std::string> shared_file(std::string_view folder, std::string_view name) {
  std::vector<std::filesystem::path> places;
#ifdef LONGSHORE_APP_DIR
  places.emplace_back(LONGSHORE_APP_DIR);
#endif
  std::error_code failure;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", failure);
  if (!failure)
    places.push_back(program.parent_path().parent_path() / "share/longshore");
  for (const auto& place : places)
    if (const auto path = place / folder / name; std::filesystem::exists(path, failure))
      return path.string();
  return std::nullopt;
}

}  // namespace longshore
