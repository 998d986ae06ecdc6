#pragma once
/// Models for histories of streams: what their files and layers are, and what the device must have of each tensor.
///
/// Owns the files, open. Built once, shared by all histories; one thread. Failure: exceptions and failed expectations
/// as a test starts.

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gpu/layer_plan.hpp"
#include "io/open_model.hpp"
#include "tests/actors/model_files.hpp"

namespace longshore {

struct streamed_test_model {
  std::vector<layer_file> parts{};                           ///< of the plan
  std::vector<std::shared_ptr<const opened_file>> opened{};  ///< the same files
  std::vector<layer_spec> layers{};
  std::vector<std::vector<byte_vector>> right_bytes{};  ///< by layer and tensor, as the device has it
  bool is_cast = false;
};

class streamed_files {
public:
  streamed_files() {
    add_tied_layers();
    add_shards_with_lora();
    add_tiny_tensors();
  }

  model_files files;
  std::vector<streamed_test_model> models;

private:
  /// Layers of several sizes, the first and the last of which share a tensor; one without a byte, one without a tensor.
  void add_tied_layers() {
    std::vector<made_tensor> tensors{{"tied", 9'001}};
    std::vector<layer_spec> layers;
    for (size_t i = 0; i < 9; ++i) {
      const auto name = "l" + std::to_string(i);
      tensors.insert(tensors.end(), {{name + ".w", 20'000 + i % 3 * 17'001}, {name + ".n", 0}, {name + ".b", 100 + i}});
      layers.push_back({name, {{0, name + ".w"}, {0, name + ".b"}, {0, name + ".n"}}});
    }
    tensors.push_back({"alone", 0});
    layers.front().tensors.push_back({0, "tied"});
    layers.back().tensors.push_back({0, "tied"});
    layers.push_back({"empty", {{0, "alone"}}});
    layers.push_back({"nothing", {}});
    models.emplace_back();
    add_part(0, files.write("tied", tensors, 1), tensors, "");
    finish(std::move(layers));
  }

  /// Two files in turn, and a second model beside them that is cast.
  void add_shards_with_lora() {
    std::vector<made_tensor> shards[2], lora;
    std::vector<layer_spec> layers;
    for (size_t i = 0; i < 8; ++i) {
      const auto name = "s" + std::to_string(i);
      shards[i % 2].push_back({name + ".w", 30'000 + i * 999 / 2 * 2, "F16", 2});
      shards[(i + i / 3) % 2].push_back({name + ".v", 7'777});
      lora.push_back({name + ".a", 4'002, "BF16", 2});
      layers.push_back({name, {{0, name + ".v"}, {0, name + ".w"}, {1, name + ".a"}}});
    }
    models.emplace_back();
    add_part(0, files.write("shard0", shards[0], 2), shards[0], "");
    add_part(0, files.write("shard1", shards[1], 3), shards[1], "");
    add_part(1, files.write("lora", lora, 4), lora, "F32");
    finish(std::move(layers));
  }

  /// All that a run packs: many tensors below the size that is copied directly, in layers that overlap.
  void add_tiny_tensors() {
    std::vector<made_tensor> tensors;
    for (size_t i = 0; i < 40; ++i)
      tensors.push_back({"t" + std::to_string(i), 1 + i * 37 % 300});
    std::vector<layer_spec> layers;
    for (size_t i = 0; i + 7 < 40; i += 5) {
      layers.push_back({"tiny" + std::to_string(i), {}});
      for (size_t j = 7; j-- > 0;)
        layers.back().tensors.push_back({0, "t" + std::to_string(i + j)});
    }
    models.emplace_back();
    add_part(0, files.write("tiny", tensors, 5), tensors, "");
    finish(std::move(layers));
  }

  void add_part(uint32_t source, const std::string& path, const std::vector<made_tensor>& tensors,
                const std::string& cast_to) {
    auto opened = open_model(find_source({path})->files.front());
    auto shared = std::make_shared<const opened_file>(std::move(opened.value()));
    models.back().parts.push_back(
        {.source = source, .path = path, .header = shared->header, .rule = cast_rule::parse(cast_to).value()});
    models.back().opened.push_back(std::move(shared));
    models.back().is_cast |= !cast_to.empty();
    made_.push_back({source, path, tensors});
  }

  void finish(std::vector<layer_spec> layers) {
    auto& model = models.back();
    const auto plan = plan_layers(model.parts, layers, {});
    for (size_t l = 0; l < layers.size(); ++l) {
      model.right_bytes.emplace_back();
      for (size_t i = 0; i < layers[l].tensors.size(); ++i)
        model.right_bytes.back().push_back(bytes_of(layers[l].tensors[i], plan->layers[l].tensors[i].info.type));
    }
    model.layers = std::move(layers);
    made_.clear();
  }

  byte_vector bytes_of(const layer_tensor& tensor, dtype type) const {
    for (const auto& part : made_) {
      const auto* at = files.content(part.path).data() + made_header(part.tensors).size();
      for (const auto& made : part.tensors) {
        if (part.source == tensor.source && made.name == tensor.name)
          return model_files::right_bytes(made, at, type);
        at += made.size_bytes;
      }
    }
    ADD_FAILURE() << tensor.name;
    return {};
  }

  struct made_part {
    uint32_t source;
    std::string path;
    std::vector<made_tensor> tensors;
  };
  std::vector<made_part> made_;  // of the model that is being added
};

}  // namespace longshore
