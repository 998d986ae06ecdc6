#pragma once
/// The transformer of FLUX.1 as layers of a streamed sequence: its double blocks and its single blocks, between the
/// projections at both ends.
///
/// What goes from layer to layer is one tensor, the text's tokens before the image's; what all layers share stands in
/// `flux_inputs`, which the first layer completes. Sizes are the checkpoint's own, so a smaller one of the same layout
/// computes too. Owns nothing; the layers share the inputs. Thread rule: that of the sequence. Failure: `bad_format`
/// for a checkpoint of another layout; what torch throws passes through.

#include <cstdint>
#include <memory>
#include <vector>

#include "app/torch/streamed_sequence.hpp"
#include "io/safetensors.hpp"

namespace longshore {

struct flux_sizes {
  int64_t hidden = 0;
  int64_t heads = 0;
  int64_t image_channels = 0;
  int64_t text_channels = 0;
  int64_t vector_channels = 0;
  int64_t double_blocks = 0;
  int64_t single_blocks = 0;
};

expected<flux_sizes> flux_sizes_of(const safetensors_header& header);

/// Of one step. A struct of tensors behind a pointer, as torch's headers are not needed here.
struct flux_inputs;

/// Made-up prompt and image of so many tokens, the same each time. `image_side`: tokens in a row and in a column.
std::shared_ptr<flux_inputs> make_flux_inputs(const flux_sizes& sizes, int64_t image_side, int64_t text_tokens);

/// The noise that the first step starts from.
at::Tensor flux_noise(const flux_sizes& sizes, int64_t image_side);

/// How far the image is from noise (1) before a step.
void set_flux_time(flux_inputs& inputs, double time);

/// Its sequence takes the image's tokens, and gives the way that they shall go.
std::vector<sequence_layer> flux_layers(const safetensors_header& header, const flux_sizes& sizes,
                                        const std::shared_ptr<flux_inputs>& inputs);

}  // namespace longshore
