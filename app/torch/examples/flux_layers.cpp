#include "app/torch/examples/flux_layers.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include <ATen/ATen.h>

namespace longshore {
namespace {

constexpr int64_t time_channels = 256;
constexpr double guidance = 3.5;

/// A layer's weights by what follows its own name.
struct block_weights {
  const named_tensors& all;
  std::string prefix;

  const at::Tensor& at(const std::string& name) const { return all.at(prefix + name); }
  at::Tensor linear(const std::string& name, const at::Tensor& input) const {
    return at::linear(input, at(name + ".weight"), at(name + ".bias"));
  }
  at::Tensor two_layers(const std::string& name, const at::Tensor& input) const {
    return linear(name + ".out_layer", at::silu(linear(name + ".in_layer", input)));
  }
};

at::Tensor sinusoids(double value) {
  const auto half = time_channels / 2;
  const auto angles = at::exp(at::arange(half, at::kFloat) * (-std::log(10000.0) / static_cast<double>(half)));
  const auto scaled = (angles * (1000 * value)).unsqueeze(0);
  return at::cat({at::cos(scaled), at::sin(scaled)}, 1);
}

/// Rotary position: [tokens, head_size / 2] of angles, a part of them for each axis of the positions.
at::Tensor angles_of(const at::Tensor& positions, int64_t head_size) {
  const int64_t sizes[] = {head_size / 8, head_size * 7 / 16, head_size * 7 / 16};
  std::vector<at::Tensor> parts;
  for (int64_t axis = 0; axis < 3; ++axis) {
    const auto exponents = at::arange(0, sizes[axis], 2, at::kFloat) / static_cast<double>(sizes[axis]);
    parts.push_back(positions.select(1, axis).unsqueeze(1) * at::pow(10000.0, -exponents));
  }
  return at::cat(parts, 1);
}

at::Tensor positions_of(int64_t image_side, int64_t text_tokens) {
  const auto row = at::arange(image_side, at::kFloat).repeat_interleave(image_side);
  const auto column = at::arange(image_side, at::kFloat).repeat({image_side});
  const auto image = at::stack({at::zeros_like(row), row, column}, 1);
  return at::cat({at::zeros({text_tokens, 3}), image});
}

}  // namespace

struct flux_inputs {
  at::Tensor text, pooled;                    // the prompt, token by token and as a whole
  at::Tensor rotation_cosine, rotation_sine;  // of all tokens' positions
  double time = 1;
  at::Tensor condition{};  // what modulates every block: the first layer's to make
};

namespace {

at::Tensor rotated(const at::Tensor& heads, const flux_inputs& inputs) {
  const auto pairs = heads.unflatten(-1, {-1, 2});
  const auto even = pairs.select(-1, 0), odd = pairs.select(-1, 1);
  const auto cosine = inputs.rotation_cosine.to(heads.dtype()), sine = inputs.rotation_sine.to(heads.dtype());
  return at::stack({even * cosine - odd * sine, even * sine + odd * cosine}, -1).flatten(-2);
}

at::Tensor normed(const at::Tensor& input, const at::Tensor& scale) {
  return input * at::rsqrt(input.square().mean(-1, true) + 1e-6) * scale;
}

struct attention_heads {
  at::Tensor query, key, value;  // [1, heads, tokens, head_size]
};

attention_heads heads_of(const at::Tensor& qkv, int64_t heads, const block_weights& weights, const std::string& norm) {
  const auto parts = qkv.unflatten(-1, {3, heads, -1}).permute({2, 0, 3, 1, 4});
  return {normed(parts[0], weights.at(norm + "query_norm.scale")),
          normed(parts[1], weights.at(norm + "key_norm.scale")), parts[2]};
}

at::Tensor attended(const attention_heads& of, const flux_inputs& inputs) {
  return at::scaled_dot_product_attention(rotated(of.query, inputs), rotated(of.key, inputs), of.value)
      .transpose(1, 2)
      .flatten(2);
}

at::Tensor layer_normed(const at::Tensor& input, const at::Tensor& shift, const at::Tensor& scale) {
  return at::layer_norm(input, {input.size(-1)}, {}, {}, 1e-6) * (1 + scale) + shift;
}

/// As many vectors as said, each for all tokens.
std::vector<at::Tensor> modulation(const block_weights& weights, const std::string& name, const flux_inputs& inputs,
                                   int64_t count) {
  return weights.linear(name, at::silu(inputs.condition)).unsqueeze(1).chunk(count, -1);
}

at::Tensor first_layer(const at::Tensor& image, const block_weights& weights, flux_inputs& inputs) {
  const auto type = weights.at("img_in.weight").scalar_type();
  inputs.condition = weights.two_layers("time_in", sinusoids(inputs.time).to(type)) +
                     weights.two_layers("vector_in", inputs.pooled.to(type));
  if (weights.all.contains("guidance_in.in_layer.weight"))
    inputs.condition = inputs.condition + weights.two_layers("guidance_in", sinusoids(guidance).to(type));
  return at::cat({weights.linear("txt_in", inputs.text.to(type)), weights.linear("img_in", image.to(type))}, 1);
}

/// Text and image have weights of their own here, and see each other in the attention.
at::Tensor double_block(const at::Tensor& tokens, const block_weights& weights, const flux_inputs& inputs,
                        int64_t head_count) {
  const std::string sides[] = {"txt", "img"};
  const auto text_tokens = inputs.text.size(1);
  auto streams = tokens.split_with_sizes({text_tokens, tokens.size(1) - text_tokens}, 1);
  std::vector<at::Tensor> modulations[2];
  attention_heads heads[2];
  for (int i = 0; i < 2; ++i) {
    modulations[i] = modulation(weights, sides[i] + "_mod.lin", inputs, 6);
    const auto& m = modulations[i];
    heads[i] = heads_of(weights.linear(sides[i] + "_attn.qkv", layer_normed(streams[i], m[0], m[1])), head_count,
                        weights, sides[i] + "_attn.norm.");
  }
  const auto seen = attended({at::cat({heads[0].query, heads[1].query}, 2), at::cat({heads[0].key, heads[1].key}, 2),
                              at::cat({heads[0].value, heads[1].value}, 2)},
                             inputs)
                        .split_with_sizes({text_tokens, tokens.size(1) - text_tokens}, 1);
  for (int i = 0; i < 2; ++i) {
    const auto& m = modulations[i];
    const auto with_seen = streams[i] + m[2] * weights.linear(sides[i] + "_attn.proj", seen[i]);
    const auto inner = weights.linear(sides[i] + "_mlp.0", layer_normed(with_seen, m[3], m[4]));
    streams[i] = with_seen + m[5] * weights.linear(sides[i] + "_mlp.2", at::gelu(inner, "tanh"));
  }
  return at::cat({streams[0], streams[1]}, 1);
}

at::Tensor single_block(const at::Tensor& tokens, const block_weights& weights, const flux_inputs& inputs,
                        int64_t head_count) {
  const auto m = modulation(weights, "modulation.lin", inputs, 3);
  const auto both = weights.linear("linear1", layer_normed(tokens, m[0], m[1]));
  const auto hidden = tokens.size(-1);
  const auto parts = both.split_with_sizes({3 * hidden, both.size(-1) - 3 * hidden}, -1);
  const auto seen = attended(heads_of(parts[0], head_count, weights, "norm."), inputs);
  return tokens + m[2] * weights.linear("linear2", at::cat({seen, at::gelu(parts[1], "tanh")}, -1));
}

at::Tensor last_layer(const at::Tensor& tokens, const block_weights& weights, const flux_inputs& inputs) {
  const auto m = modulation(weights, "final_layer.adaLN_modulation.1", inputs, 2);
  const auto image = tokens.slice(1, inputs.text.size(1));
  return weights.linear("final_layer.linear", layer_normed(image, m[0], m[1])).to(at::kFloat);
}

std::string block_name(const char* kind, int64_t number) {
  return std::string{kind} + "." + std::to_string(number) + ".";
}

bool is_of_a_block(const std::string& name) {
  return name.starts_with("double_blocks.") || name.starts_with("single_blocks.");
}

template <class Wanted>
std::vector<layer_tensor> tensors_where(const safetensors_header& header, const Wanted& wanted) {
  std::vector<layer_tensor> found;
  for (const auto& tensor : header.tensors)
    if (wanted(tensor.name))
      found.push_back({.source = 0, .name = tensor.name});
  return found;
}

}  // namespace

expected<flux_sizes> flux_sizes_of(const safetensors_header& header) {
  std::map<std::string, std::vector<uint64_t>> shapes;
  for (const auto& tensor : header.tensors)
    shapes[tensor.name] = tensor.shape;
  const auto size = [&](const std::string& name, size_t dimension) -> int64_t {
    const auto found = shapes.find(name);
    return found != shapes.end() && dimension < found->second.size() ? static_cast<int64_t>(found->second[dimension])
                                                                     : 0;
  };
  const auto head_size = size("double_blocks.0.img_attn.norm.query_norm.scale", 0);
  flux_sizes sizes{.hidden = size("img_in.weight", 0),
                   .heads = head_size > 0 ? size("img_in.weight", 0) / head_size : 0,
                   .image_channels = size("img_in.weight", 1),
                   .text_channels = size("txt_in.weight", 1),
                   .vector_channels = size("vector_in.in_layer.weight", 1)};
  while (shapes.contains(block_name("double_blocks", sizes.double_blocks) + "img_mod.lin.weight"))
    ++sizes.double_blocks;
  while (shapes.contains(block_name("single_blocks", sizes.single_blocks) + "linear1.weight"))
    ++sizes.single_blocks;
  if (sizes.heads < 1 || sizes.text_channels < 1 || sizes.vector_channels < 1 || sizes.single_blocks < 1)
    return unexpected(error{.code = errc::bad_format, .what = "the checkpoint has not the layout of a FLUX.1 model"});
  return sizes;
}

std::shared_ptr<flux_inputs> make_flux_inputs(const flux_sizes& sizes, int64_t image_side, int64_t text_tokens) {
  at::manual_seed(1);
  const auto angles = angles_of(positions_of(image_side, text_tokens), sizes.hidden / sizes.heads);
  return std::make_shared<flux_inputs>(flux_inputs{.text = at::randn({1, text_tokens, sizes.text_channels}),
                                                   .pooled = at::randn({1, sizes.vector_channels}),
                                                   .rotation_cosine = at::cos(angles),
                                                   .rotation_sine = at::sin(angles)});
}

at::Tensor flux_noise(const flux_sizes& sizes, int64_t image_side) {
  at::manual_seed(2);
  return at::randn({1, image_side * image_side, sizes.image_channels});
}

void set_flux_time(flux_inputs& inputs, double time) { inputs.time = time; }

std::vector<sequence_layer> flux_layers(const safetensors_header& header, const flux_sizes& sizes,
                                        const std::shared_ptr<flux_inputs>& inputs) {
  std::vector<sequence_layer> layers;
  layers.push_back(
      {.name = "inputs",
       .tensors = tensors_where(
           header, [](const std::string& name) { return !is_of_a_block(name) && !name.starts_with("final_layer."); }),
       .run = [inputs](const at::Tensor& image, const named_tensors& weights) {
         return first_layer(image, {weights, ""}, *inputs);
       }});
  const auto add_blocks = [&](const char* kind, int64_t count, auto* block) {
    for (int64_t i = 0; i < count; ++i) {
      const auto prefix = block_name(kind, i);
      layers.push_back(
          {.name = std::string{kind} + " " + std::to_string(i),
           .tensors = tensors_where(header, [&](const std::string& name) { return name.starts_with(prefix); }),
           .run = [inputs, prefix, block, heads = sizes.heads](const at::Tensor& tokens, const named_tensors& weights) {
             return block(tokens, {weights, prefix}, *inputs, heads);
           }});
    }
  };
  add_blocks("double_blocks", sizes.double_blocks, &double_block);
  add_blocks("single_blocks", sizes.single_blocks, &single_block);
  layers.push_back(
      {.name = "output",
       .tensors = tensors_where(header, [](const std::string& name) { return name.starts_with("final_layer."); }),
       .run = [inputs](const at::Tensor& tokens, const named_tensors& weights) {
         return last_layer(tokens, {weights, ""}, *inputs);
       }});
  return layers;
}

}  // namespace longshore
