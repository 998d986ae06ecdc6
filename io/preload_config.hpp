#pragma once
/// `preload_config.json`: which models to load at the start, and under which keys.
///
/// Owns nothing; pure (no model file is looked for); safe from any thread.
/// Limits: `config_limits`. Failure: `errc::bad_config` with the path and either line, column and byte offset (text
/// that is not JSON) or the JSON pointer of the first wrong value in `where`, and what was expected. Disabled entries
/// are checked too. What is merely odd, such as an unknown field, is a warning.
///
/// The file: `version` ("1.x"), `description`, `models` (required) with the lists `checkpoints`, `text_encoders`,
/// `diffusion_models` and `vaes`, and `settings` with `auto_gpu_load` and `verbose`.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cache/error.hpp"
#include "cache/model_kind.hpp"

namespace longshore {

struct preload_entry {
  model_kind kind = model_kind::ckpt;
  std::vector<std::string> files;  ///< relative names: one, or one to three for a text encoder
  std::string key;                 ///< `cache_key`, or the default of `default_key`
  bool enabled = true;
  std::string description;
  std::string type = "stable_diffusion";  ///< of a text encoder: the model family it serves
  std::string device = "default";         ///< of a text encoder: default or cpu
  std::string weight_dtype = "default";   ///< of a diffusion model: default, fp8_e4m3fn, fp8_e4m3fn_fast or fp8_e5m2
  std::string pointer;                    ///< its JSON pointer, such as "/models/vaes/0"
};

/// The key of an entry that names none: the file's name; for text encoders `n1[_n2][_n3]_type_device`; for diffusion
/// models `name_dtype`. ComfyUI's caching nodes compute the same keys.
std::string default_key(const preload_entry& entry);

/// The type of the format that a weight_dtype stands for; empty for "default", which leaves weights as they are.
std::string wanted_type(const preload_entry& entry);

/// Whether two entries stand for the same bytes used in the same way.
bool same_source(const preload_entry& a, const preload_entry& b);

struct preload_config {
  std::string version = "1.0";
  std::string description;
  std::vector<preload_entry> entries;  ///< checkpoints, text encoders, diffusion models, VAEs; each in the file's order
  bool auto_gpu_load = false;
  bool verbose = false;
  std::vector<std::string> warnings;  ///< a line each, the JSON pointer first
};

struct config_limits {
  size_t max_config_bytes = 1 << 20;
  size_t max_entries = 1000;
  unsigned max_depth = 32;
};

expected<preload_config> parse_preload_config(std::string_view json, const std::string& path,
                                              config_limits limits = {});

}  // namespace longshore
