#include "gpu/layer_plan.hpp"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

namespace longshore {
namespace {

/// A tensor by its place: the file, and the index in that file's header.
using tensor_place = std::pair<uint32_t, uint32_t>;
using places_by_name = std::vector<std::unordered_map<std::string_view, tensor_place>>;  // one a source

places_by_name find_places(const std::vector<layer_file>& files) {
  places_by_name places;
  for (uint32_t file = 0; file < files.size(); ++file) {
    if (files[file].source >= places.size())
      places.resize(files[file].source + 1);
    const auto& tensors = files[file].header->tensors;
    for (uint32_t i = 0; i < tensors.size(); ++i)
      places[files[file].source].emplace(tensors[i].name, tensor_place{file, i});
  }
  return places;
}

expected<tensor_place> place_of(const places_by_name& places, const layer_spec& layer, const layer_tensor& tensor) {
  if (tensor.source < places.size())
    if (const auto found = places[tensor.source].find(tensor.name); found != places[tensor.source].end())
      return found->second;
  return unexpected(error{.code = errc::bad_argument,
                          .what = "layer \"" + layer.name + "\" names the tensor \"" + tensor.name +
                                  "\", which model " + std::to_string(tensor.source) + " of the stream does not have"});
}

/// Of each tensor that is used, the layers that use it, in their order.
using users_of_tensors = std::map<tensor_place, std::vector<uint32_t>>;

expected<users_of_tensors> find_users(const places_by_name& places, const std::vector<layer_spec>& layers) {
  users_of_tensors users;
  for (uint32_t layer = 0; layer < layers.size(); ++layer)
    for (const auto& tensor : layers[layer].tensors) {
      const auto place = place_of(places, layers[layer], tensor);
      if (!place)
        return tl::unexpected(place.error());
      auto& of_tensor = users[*place];
      if (!of_tensor.empty() && of_tensor.back() == layer)
        return unexpected(
            error{.code = errc::bad_argument,
                  .what = "layer \"" + layers[layer].name + "\" names the tensor \"" + tensor.name + "\" twice"});
      of_tensor.push_back(layer);
    }
  return users;
}

/// The tensors of one unit, in the file's order.
struct unit_members {
  uint32_t file = 0;
  std::vector<uint32_t> tensors{};
  std::vector<uint32_t> layers{};
};

std::vector<unit_members> group(const std::vector<layer_file>& files, const users_of_tensors& users,
                                uint64_t unit_bytes) {
  std::map<std::pair<uint32_t, std::vector<uint32_t>>, std::vector<uint32_t>> groups;
  for (const auto& [place, layers] : users)
    groups[{place.first, layers}].push_back(place.second);  // by index, which is the file's order
  std::vector<unit_members> units;
  for (const auto& [key, tensors] : groups) {
    uint64_t bytes = 0;
    units.push_back({.file = key.first, .layers = key.second});
    for (auto tensor : tensors) {
      const auto size = files[key.first].header->tensors[tensor].size_bytes();
      if (bytes > 0 && bytes + size > unit_bytes) {
        units.push_back({.file = key.first, .layers = key.second});
        bytes = 0;
      }
      units.back().tensors.push_back(tensor);
      bytes += size;
    }
  }
  return units;
}

safetensors_header header_of(const unit_members& unit, const safetensors_header& whole) {
  safetensors_header part;
  part.data_begin_bytes = whole.data_begin_bytes;
  for (auto tensor : unit.tensors)
    part.tensors.push_back(whole.tensors[tensor]);
  return part;
}

std::vector<byte_range> ranges_of(const safetensors_header& part, uint64_t gap_bytes) {
  std::vector<byte_range> ranges;
  for (const auto& tensor : part.tensors) {
    const byte_range range{part.data_begin_bytes + tensor.begin_bytes, part.data_begin_bytes + tensor.end_bytes};
    if (range.begin_bytes == range.end_bytes)
      continue;
    if (!ranges.empty() && range.begin_bytes <= ranges.back().end_bytes + gap_bytes)
      ranges.back().end_bytes = std::max(ranges.back().end_bytes, range.end_bytes);
    else
      ranges.push_back(range);
  }
  return ranges;
}

}  // namespace

expected<layer_plan> plan_layers(const std::vector<layer_file>& files, const std::vector<layer_spec>& layers,
                                 const layer_plan_options& options) {
  const auto places = find_places(files);
  const auto users = find_users(places, layers);
  if (!users)
    return tl::unexpected(users.error());
  layer_plan plan;
  plan.layers.resize(layers.size());
  std::map<tensor_place, placed_tensor> placed;
  for (const auto& members : group(files, *users, options.unit_bytes)) {
    const auto unit = static_cast<uint32_t>(plan.units.size());
    const auto& file = files[members.file];
    const auto header = header_of(members, *file.header);
    plan.units.push_back({.file = members.file,
                          .layout = device_layout{header, file.rule},
                          .ranges = ranges_of(header, options.gap_bytes)});
    const auto on_device = header_on_device(header, file.rule);
    for (size_t i = 0; i < members.tensors.size(); ++i)
      placed[{members.file, members.tensors[i]}] = {
          .info = on_device.tensors[i], .unit = unit, .offset_bytes = plan.units.back().layout.offset_bytes(i)};
    for (auto layer : members.layers)
      plan.layers[layer].units.push_back(unit);
  }
  for (size_t i = 0; i < layers.size(); ++i) {
    plan.layers[i].name = layers[i].name;
    for (const auto& tensor : layers[i].tensors)
      plan.layers[i].tensors.push_back(placed.at(*place_of(places, layers[i], tensor)));
  }
  return plan;
}

uint64_t largest_layer_bytes(const stream_shape& shape) {
  uint64_t largest = 0;
  for (const auto& layer : shape.layers) {
    uint64_t bytes = 0;
    for (auto unit : layer)
      bytes += shape.unit_bytes[unit];
    largest = std::max(largest, bytes);
  }
  return largest;
}

stream_shape shape_of(const layer_plan& plan) {
  stream_shape shape;
  for (const auto& unit : plan.units)
    shape.unit_bytes.push_back(unit.layout.total_bytes());
  for (const auto& layer : plan.layers)
    shape.layers.push_back(layer.units);
  return shape;
}

}  // namespace longshore
