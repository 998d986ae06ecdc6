#include "io/model_folders.hpp"

#include <algorithm>
#include <array>
#include <filesystem>

#include "cache/nearest.hpp"
#include "io/relative_name.hpp"

namespace longshore {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 1> checkpoint_folders{"checkpoints"};
constexpr std::array<std::string_view, 2> encoder_folders{"text_encoders", "clip"};
constexpr std::array<std::string_view, 2> diffusion_folders{"diffusion_models", "unet"};
constexpr std::array<std::string_view, 1> vae_folders{"vae"};
constexpr std::array<std::string_view, 1> lora_folders{"loras"};

bool is_absent(const std::error_code& problem) {
  return problem == std::errc::no_such_file_or_directory || problem == std::errc::not_a_directory;
}

/// Adds the names of the files below a folder, relative to it. What cannot be listed is left out: it is only a hint.
void list_files(const fs::path& folder, const folder_limits& limits, std::vector<std::string>& names) {
  size_t seen = 0;
  std::error_code problem;
  constexpr auto options =
      fs::directory_options::follow_directory_symlink | fs::directory_options::skip_permission_denied;
  for (fs::recursive_directory_iterator at(folder, options, problem), end; !problem && at != end;
       at.increment(problem)) {
    if (++seen > limits.max_listed_entries)
      return;
    if (at.depth() + 1 >= limits.max_listed_depth)  // a link may lead back to a folder above it
      at.disable_recursion_pending();
    std::error_code unreadable;
    if (at->is_regular_file(unreadable))
      names.push_back(at->path().lexically_relative(folder).string());
  }
}

error not_found(const std::vector<fs::path>& places, model_kind kind, const std::string& name,
                const folder_limits& limits) {
  std::vector<std::string> names;
  std::string looked_in;
  for (const auto& place : places) {
    list_files(place, limits, names);
    looked_in += (looked_in.empty() ? "" : ", ") + place.string();
  }
  std::sort(names.begin(), names.end());
  return {.code = errc::not_found,
          .what = "no " + std::string(longshore::name(kind)) + " file \"" + name + "\"; looked in " +
                  (looked_in.empty() ? "no folder, since none was given" : looked_in) + did_you_mean(name, names)};
}

}  // namespace

std::span<const std::string_view> model_folders(model_kind kind) {
  switch (kind) {
    case model_kind::ckpt:
    case model_kind::unclip_ckpt:
      return checkpoint_folders;
    case model_kind::diffusion_model:
      return diffusion_folders;
    case model_kind::text_encoder:
      return encoder_folders;
    case model_kind::vae:
      return vae_folders;
    case model_kind::lora:
      return lora_folders;
    case model_kind::data:
      break;
  }
  return {};
}

expected<std::string> find_model_file(const std::vector<std::string>& roots, model_kind kind, const std::string& name,
                                      folder_limits limits) {
  const auto folders = model_folders(kind);
  if (folders.empty())
    return unexpected(error{.code = errc::bad_argument,
                            .what = "models of the kind " + std::string(longshore::name(kind)) +
                                    " have no folder; give the path of the file"});
  if (const auto flaw = relative_name_flaw(name); !flaw.empty())
    return unexpected(error{.code = errc::bad_argument, .what = "a model name " + std::string(flaw), .path = name});
  std::vector<fs::path> places;
  for (const auto& root : roots)
    for (auto folder : folders) {
      places.push_back(fs::path(root) / folder);
      const auto file = places.back() / name;
      std::error_code problem;
      const auto status = fs::status(file, problem);
      if (fs::is_regular_file(status))
        return file.string();
      if (problem && !is_absent(problem))
        return unexpected(error{.code = errc::io_failed,
                                .what = "cannot look for the model file",
                                .path = file.string(),
                                .os_error = problem.value()});
    }
  return unexpected(not_found(places, kind, name, limits));
}

}  // namespace longshore
