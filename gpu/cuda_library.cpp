#include "gpu/cuda_library.hpp"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include <dlfcn.h>

namespace longshore {
namespace {

constexpr const char* library_name = "liblongshore_cuda.so";
constexpr const char* table_function = "longshore_cuda_table";

/// The folder of the file that this code was loaded from, with a slash at its end; empty where that is not known. Of
/// the program itself the loader knows only what it was called by: a bare name, or a link to it.
std::string own_folder() {
  Dl_info info{};
  if (::dladdr(reinterpret_cast<const void*>(&own_folder), &info) == 0 || info.dli_fname == nullptr)
    return {};
  std::string file = info.dli_fname;
  std::error_code unknown;
  if (file == ::program_invocation_name)
    file = std::filesystem::read_symlink("/proc/self/exe", unknown);
  return file.substr(0, file.rfind('/') + 1);
}

std::string loader_words() {
  const auto* words = ::dlerror();
  return words == nullptr ? "no reason given" : words;
}

expected<const cuda_table*> table_in(const std::string& place) {
  const auto refused = [](std::string why) {
    return unexpected(error{.code = errc::unsupported, .what = std::move(why)});
  };
  void* library = ::dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr)
    return refused(loader_words());  // which begin with the place
  using get_table = const cuda_table* (*)();
  const auto get = reinterpret_cast<get_table>(::dlsym(library, table_function));
  const auto* table = get == nullptr ? nullptr : get();
  if (table != nullptr && table->version == cuda_table_version && table->size_bytes == sizeof(cuda_table))
    return table;
  auto why = table == nullptr ? ": it has no table of CUDA's functions"
                              : ": it is of version " + std::to_string(table->version) + ", this program of version " +
                                    std::to_string(cuda_table_version);
  ::dlclose(library);
  return refused(place + why);
}

}  // namespace

std::vector<std::string> cuda_library_places() {
  if (const auto* named = std::getenv("LONGSHORE_CUDA_LIBRARY"); named != nullptr && *named != '\0')
    return {named};
  std::vector<std::string> places{library_name};
  if (auto folder = own_folder(); !folder.empty())
    places.insert(places.begin(), folder + library_name);
  return places;
}

expected<const cuda_table*> load_cuda_table() {
  std::string tried;
  for (const auto& place : cuda_library_places()) {
    auto table = table_in(place);
    if (table)
      return table;
    tried += (tried.empty() ? "" : "; ") + table.error().what;
  }
  return unexpected(error{.code = errc::unsupported, .what = "no CUDA library for Longshore (" + tried + ")"});
}

expected<int> cuda_device_count(const cuda_table& table) {
  int count = 0;
  const auto code = table.get_device_count(&count);
  if (code == cuda_code::success)
    return count;
  if (code == cuda_code::no_device)
    return 0;
  const std::string what = code == cuda_code::driver_too_old
                               ? "there is no NVIDIA driver here, or one too old for this build"
                               : "CUDA does not work here";
  return unexpected(
      error{.code = errc::unsupported,
            .what = what + ": " + table.get_error_string(code) + " (CUDA error " + std::to_string(code) + ")"});
}

}  // namespace longshore
