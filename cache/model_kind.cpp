#include "cache/model_kind.hpp"

namespace longshore {

std::string_view name(model_kind kind) {
  switch (kind) {
    case model_kind::ckpt:
      return "ckpt";
    case model_kind::unclip_ckpt:
      return "unclip_ckpt";
    case model_kind::diffusion_model:
      return "diffusion_model";
    case model_kind::text_encoder:
      return "text_encoder";
    case model_kind::vae:
      return "vae";
    case model_kind::lora:
      return "lora";
    case model_kind::data:
      return "data";
  }
  return "unknown";
}

std::optional<model_kind> model_kind_from_name(std::string_view text) {
  for (auto kind : all_model_kinds)
    if (name(kind) == text)
      return kind;
  return std::nullopt;
}

}  // namespace longshore
