#pragma once
/// What a model is to the program that uses it. Tells which folder its file lies in and what its users may ask of it.
///
/// Owns nothing; safe from any thread; an unknown name is an empty optional.

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace longshore {

enum class model_kind : uint8_t {
  ckpt,             ///< a checkpoint: model, text encoder and VAE in one file
  unclip_ckpt,      ///< a checkpoint that also holds an image encoder
  diffusion_model,  ///< the denoising network alone
  text_encoder,     ///< one to three encoders that work as one
  vae,              ///< image encoder and decoder
  lora,             ///< a patch to the weights of another model
  data,             ///< tensors of no particular meaning
};

inline constexpr std::array all_model_kinds{
    model_kind::ckpt, model_kind::unclip_ckpt, model_kind::diffusion_model, model_kind::text_encoder, model_kind::vae,
    model_kind::lora, model_kind::data,
};

/// The kind as it stands in tables and JSON output, for example "text_encoder".
std::string_view name(model_kind kind);

/// The inverse of `name`; letters must match in case.
std::optional<model_kind> model_kind_from_name(std::string_view text);

}  // namespace longshore
