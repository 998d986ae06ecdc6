#pragma once
/// Which bytes of a model's files the layers of a stream are made of, and where each tensor lies when its layer is on
/// the device: plans are data.
///
/// Tensors that the same layers use, of one file, make a unit: one piece of device memory, which comes and goes as a
/// whole. A tensor of several layers (tied weights) is in one unit that all of them use. Units end at tensor borders
/// and have at most `unit_bytes`, but for a tensor that is larger. Pure. Failure: `bad_argument` for a tensor that no
/// file has, or that a layer names twice.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cache/error.hpp"
#include "cache/stream_types.hpp"
#include "gpu/device_layout.hpp"
#include "io/cast_rule.hpp"
#include "io/safetensors.hpp"

namespace longshore {

struct layer_tensor {
  uint32_t source = 0;  ///< of the stream's models, counted from 0
  std::string name;
};

struct layer_spec {
  std::string name;
  std::vector<layer_tensor> tensors;
};

/// One file of a source, as the plan needs it.
struct layer_file {
  uint32_t source = 0;
  std::string path{};
  std::shared_ptr<const safetensors_header> header{};
  cast_rule rule{};
};

struct byte_range {
  uint64_t begin_bytes = 0;
  uint64_t end_bytes = 0;

  friend bool operator==(const byte_range&, const byte_range&) = default;
};

struct layer_unit {
  uint32_t file = 0;
  device_layout layout;
  std::vector<byte_range> ranges;  ///< of the file, in its order, those with small gaps joined
};

/// Where a tensor of a layer lies, as the device has it.
struct placed_tensor {
  tensor_info info;  ///< of what was cast, the type and size there
  uint32_t unit = 0;
  uint64_t offset_bytes = 0;  ///< in the unit
};

struct planned_layer {
  std::string name;
  std::vector<placed_tensor> tensors;  ///< in the order of the spec
  std::vector<uint32_t> units;
};

struct layer_plan {
  std::vector<layer_unit> units;
  std::vector<planned_layer> layers;
};

struct layer_plan_options {
  uint64_t unit_bytes = 32 << 20;
  uint64_t gap_bytes = 64 << 10;  ///< up to here, reading on is cheaper than a range of its own
};

expected<layer_plan> plan_layers(const std::vector<layer_file>& files, const std::vector<layer_spec>& layers,
                                 const layer_plan_options& options = {});

/// The plan as the rule of streaming sees it.
stream_shape shape_of(const layer_plan& plan);

/// Of all the units of one layer together.
uint64_t largest_layer_bytes(const stream_shape& shape);

}  // namespace longshore
