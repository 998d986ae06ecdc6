#include "app/cli/demo_models.hpp"

#include <filesystem>
#include <utility>

namespace longshore {
namespace {

struct demo_model {
  const char* file;    ///< below the models folder
  const char* layout;  ///< by name
  const char* prefix;  ///< the part of the layout that the model is; empty for all of it
};

constexpr demo_model demo_set[] = {
    {"checkpoints/sd15-tiny.safetensors", "sd15-tiny", ""},
    {"text_encoders/clip_l.safetensors", "clip_l", ""},
    {"diffusion_models/sd15-tiny-unet.safetensors", "sd15-tiny", "model.diffusion_model."},
    {"vae/taesd.safetensors", "sd15-tiny", "first_stage_model."},
};

struct missing_model {
  std::string path;
  layout model;
};

expected<std::vector<missing_model>> find_missing(const std::string& models_folder) {
  std::vector<missing_model> missing;
  for (const auto& demo : demo_set) {
    const auto path = std::filesystem::path(models_folder) / demo.file;
    std::error_code failure;
    if (std::filesystem::exists(path, failure))
      continue;
    auto whole = named_layout(demo.layout);
    if (!whole)
      return unexpected(whole.error());
    missing.push_back({path, part_of(*whole, demo.prefix)});
  }
  return missing;
}

}  // namespace

expected<std::vector<made_checkpoint>> demo_models(const std::string& models_folder, const write_progress& progress) {
  const auto missing = find_missing(models_folder);
  if (!missing)
    return unexpected(missing.error());
  uint64_t total_bytes = 0;
  for (const auto& [path, model] : *missing)
    total_bytes += model.size_bytes();

  std::vector<made_checkpoint> made;
  uint64_t before_bytes = 0;  // of the models that are done
  checkpoint_options options;
  if (progress)
    options.progress = [&](uint64_t done_bytes, uint64_t) { return progress(before_bytes + done_bytes, total_bytes); };
  for (const auto& [path, model] : *missing) {
    auto one = make_checkpoint(model, path, options);
    if (!one)
      return unexpected(one.error());
    before_bytes += one->tensor_bytes;
    made.push_back(std::move(*one));
  }
  return made;
}

}  // namespace longshore
