#include "io/preload_config.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <span>

#include "cache/nearest.hpp"
#include "io/field_reader.hpp"
#include "io/json_document.hpp"

namespace longshore {
namespace {

using nlohmann::json;
using names = std::vector<std::string>;

struct section {
  std::string name;
  model_kind kind;
  std::string file_field;
};

const std::array<section, 4>& sections() {
  static const std::array<section, 4> list{{{"checkpoints", model_kind::ckpt, "name"},
                                            {"text_encoders", model_kind::text_encoder, "clip_names"},
                                            {"diffusion_models", model_kind::diffusion_model, "model_name"},
                                            {"vaes", model_kind::vae, "vae_name"}}};
  return list;
}

const names& weight_dtypes() {
  static const names list{"default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"};
  return list;
}

const names& devices() {
  static const names list{"default", "cpu"};
  return list;
}

/// Families that ComfyUI's single and dual text-encoder loaders offer. It adds some with nearly every release, so a
/// type that is not here is a warning and no error.
const names& encoder_types() {
  static const names list{"stable_diffusion",
                          "stable_cascade",
                          "sd3",
                          "sdxl",
                          "flux",
                          "flux2",
                          "stable_audio",
                          "mochi",
                          "ltxv",
                          "pixart",
                          "cosmos",
                          "lumina2",
                          "wan",
                          "hidream",
                          "chroma",
                          "ace",
                          "omnigen2",
                          "qwen_image",
                          "hunyuan_image",
                          "hunyuan_video",
                          "hunyuan_video_15",
                          "kandinsky5",
                          "ovis",
                          "kandinsky5_image",
                          "newbie"};
  return list;
}

names known_fields(const section& part) {
  names known{part.file_field, "cache_key", "enabled", "description"};
  if (part.kind == model_kind::text_encoder)
    known.insert(known.end(), {"type", "device"});
  if (part.kind == model_kind::diffusion_model)
    known.push_back("weight_dtype");
  return known;
}

class config_reader {
public:
  config_reader(const std::string& path, const config_limits& limits) : fields_(path), limits_(limits) {}

  expected<preload_config> read(const json& root) {
    if (fields_.is_object(root, ""))
      read_root(root);
    refuse_clashing_keys();
    if (fields_.problem())
      return unexpected(*fields_.problem());
    config_.warnings = fields_.take_warnings();
    return std::move(config_);
  }

private:
  void read_root(const json& root) {
    static const names known{"version", "description", "models", "settings"};
    read_version(root);
    config_.description = fields_.text(root, "", "description");
    const auto* models = fields_.required(root, "", "models", known);
    if (models != nullptr && fields_.is_object(*models, "/models"))
      read_models(*models);
    if (const auto settings = root.find("settings"); settings != root.end())
      read_settings(*settings);
    fields_.warn_unknown(root, "", known);
  }

  void read_version(const json& root) {
    if (!root.contains("version"))
      fields_.warn("/version", "missing, read as \"1.0\"");
    config_.version = fields_.text(root, "", "version", config_.version);
    const auto& version = config_.version;
    const auto minor = std::string_view(version).substr(std::min<size_t>(version.size(), 2));
    const auto digits = minor.find_first_not_of("0123456789.") == std::string_view::npos;
    if (!version.starts_with("1.") || minor.empty() || !digits)
      fields_.wrong("/version", "expected version 1.x, such as \"1.0\"; found \"" + version + '"');
  }

  void read_models(const json& models) {
    names known;
    for (const auto& part : sections()) {
      known.push_back(part.name);
      if (const auto list = models.find(part.name); list != models.end())
        read_section(*list, part);
    }
    fields_.warn_unknown(models, "/models", known);
  }

  void read_section(const json& list, const section& part) {
    const auto pointer = "/models/" + part.name;
    if (!fields_.is_array(list, pointer))
      return;
    if (config_.entries.size() + list.size() > limits_.max_entries)
      return fields_.wrong(pointer, "more than " + std::to_string(limits_.max_entries) + " entries up to here");
    for (size_t i = 0; i < list.size(); ++i) {
      const auto place = pointer + "/" + std::to_string(i);
      if (fields_.is_object(list[i], place))
        read_entry(list[i], place, part);
    }
  }

  void read_entry(const json& object, const std::string& pointer, const section& part) {
    const auto known = known_fields(part);
    preload_entry entry{.kind = part.kind, .files = {}, .key = {}, .description = {}, .pointer = pointer};
    if (const auto* files = fields_.required(object, pointer, part.file_field, known))
      entry.files = read_files(*files, pointer + "/" + part.file_field, part.kind);
    entry.enabled = fields_.flag(object, pointer, "enabled", true);
    entry.description = fields_.text(object, pointer, "description");
    if (part.kind == model_kind::text_encoder)
      read_encoder(object, entry);
    if (part.kind == model_kind::diffusion_model)
      entry.weight_dtype = fields_.word(object, pointer, "weight_dtype", weight_dtypes());
    entry.key = fields_.text(object, pointer, "cache_key");
    if (entry.key.empty())
      entry.key = default_key(entry);
    fields_.warn_unknown(object, pointer, known);
    config_.entries.push_back(std::move(entry));
  }

  names read_files(const json& value, const std::string& pointer, model_kind kind) {
    constexpr size_t max_encoders = 3;
    if (kind != model_kind::text_encoder)
      return {fields_.file_name(value, pointer)};
    names files;
    if (!fields_.is_array(value, pointer))
      return files;
    if (value.empty() || value.size() > max_encoders)
      fields_.wrong(pointer, "expected one to three file names, found " + std::to_string(value.size()));
    for (size_t i = 0; i < std::min(value.size(), max_encoders); ++i)
      files.push_back(fields_.file_name(value[i], pointer + "/" + std::to_string(i)));
    return files;
  }

  void read_encoder(const json& object, preload_entry& entry) {
    const auto place = entry.pointer + "/type";
    entry.type = fields_.text(object, entry.pointer, "type", entry.type);
    if (entry.type.empty())
      fields_.wrong(place, "expected a text encoder type such as \"stable_diffusion\", found an empty string");
    const auto& types = encoder_types();
    if (std::find(types.begin(), types.end(), entry.type) == types.end())
      fields_.warn(place, "unknown text encoder type \"" + entry.type + "\", passed on as it is" +
                              did_you_mean(entry.type, types, {.max_results = 1}));
    entry.device = fields_.word(object, entry.pointer, "device", devices());
  }

  void read_settings(const json& settings) {
    static const names known{"auto_gpu_load", "verbose"};
    if (!fields_.is_object(settings, "/settings"))
      return;
    config_.auto_gpu_load = fields_.flag(settings, "/settings", "auto_gpu_load", false);
    config_.verbose = fields_.flag(settings, "/settings", "verbose", false);
    fields_.warn_unknown(settings, "/settings", known);
  }

  /// One key can stand for one model only; which of two it got would depend on which loads last.
  void refuse_clashing_keys() {
    std::map<std::string_view, const preload_entry*> by_key;
    for (const auto& entry : config_.entries) {
      if (!entry.enabled)
        continue;
      const auto [first, is_new] = by_key.emplace(entry.key, &entry);
      if (!is_new && !same_source(*first->second, entry))
        fields_.wrong(entry.pointer, "the key \"" + entry.key + "\" already stands for the different model of " +
                                         first->second->pointer + "; give one of them another cache_key");
    }
  }

  field_reader fields_;
  config_limits limits_;
  preload_config config_;
};

}  // namespace

std::string default_key(const preload_entry& entry) {
  std::string key;
  for (const auto& file : entry.files)
    key += (key.empty() ? "" : "_") + file;
  if (entry.kind == model_kind::text_encoder)
    key += "_" + entry.type + "_" + entry.device;
  if (entry.kind == model_kind::diffusion_model)
    key += "_" + entry.weight_dtype;
  return key;
}

std::string wanted_type(const preload_entry& entry) {
  if (entry.weight_dtype.starts_with("fp8_e4m3fn"))  // "_fast" is about how they are multiplied later
    return "F8_E4M3";
  return entry.weight_dtype == "fp8_e5m2" ? "F8_E5M2" : "";
}

bool same_source(const preload_entry& a, const preload_entry& b) {
  return a.kind == b.kind && a.files == b.files && a.type == b.type && a.device == b.device &&
         a.weight_dtype == b.weight_dtype;
}

expected<preload_config> parse_preload_config(std::string_view json_text, const std::string& path,
                                              config_limits limits) {
  if (json_text.size() > limits.max_config_bytes)
    return unexpected(error{.code = errc::bad_config,
                            .what = "the configuration has " + std::to_string(json_text.size()) +
                                    " bytes, more than the " + std::to_string(limits.max_config_bytes) + " allowed",
                            .path = path});
  const auto root =
      read_document({.text = json_text, .path = path, .code = errc::bad_config, .max_depth = limits.max_depth});
  if (!root)
    return unexpected(root.error());
  return config_reader(path, limits).read(*root);
}

}  // namespace longshore
