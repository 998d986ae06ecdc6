#include "app/simulate/sparse_models.hpp"

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <utility>

#include "app/cli/layout.hpp"
#include "app/cli/make_checkpoint.hpp"

namespace longshore {
namespace {

namespace fs = std::filesystem;

layout listed_layout(const std::vector<tensor_group>& groups) {
  layout result;
  for (const auto& group : groups)
    for (uint64_t i = 0; i < group.count; ++i) {
      auto number = std::to_string(result.tensors.size());
      number.insert(0, number.size() < 6 ? 6 - number.size() : 0, '0');  // so that they stand in the order of the list
      result.tensors.push_back({.name = "tensor." + number, .type = dtype::U8, .shape = {group.size_bytes}});
    }
  return result;
}

void scale(layout& model, double factor) {
  for (auto& tensor : model.tensors)
    tensor.shape = {static_cast<uint64_t>(std::llround(static_cast<double>(tensor.elements()) * factor))};
}

expected<layout> layout_of(const simulated_model& model) {
  auto result = model.layout.empty() ? listed_layout(model.tensors) : named_layout(model.layout);
  if (result && model.scale != 1)
    scale(*result, model.scale);
  return result;
}

unexpected failed(std::string what, const std::string& path, int code) {
  return unexpected(error{.code = errc::io_failed, .what = std::move(what), .path = path, .os_error = code});
}

}  // namespace

expected<sparse_models> sparse_models::make(std::span<const simulated_model> models) {
  std::error_code no_folder;
  std::string folder = fs::temp_directory_path(no_folder) / "longshore-simulate-XXXXXX";
  if (no_folder || ::mkdtemp(folder.data()) == nullptr)
    return failed("cannot make a temporary folder", folder, no_folder ? no_folder.value() : errno);
  sparse_models made;
  made.folder_ = folder;
  for (const auto& model : models)
    if (auto added = made.add(model); !added)
      return unexpected(added.error());
  return made;
}

expected<void> sparse_models::add(const simulated_model& model) {
  const auto tensors = layout_of(model);
  if (!tensors)
    return unexpected(tensors.error());
  const std::string path = fs::path(folder_) / (model.name + ".safetensors");
  const auto head = checkpoint_head(*tensors);
  std::ofstream out(path, std::ios::binary);
  if (!out.write(head.data(), static_cast<std::streamsize>(head.size())).flush())
    return failed("cannot write the head of a model", path, errno);
  std::error_code refused;
  fs::resize_file(path, head.size() + tensors->size_bytes(), refused);
  if (refused)
    return failed("cannot make a file as long as the model", path, refused.value());
  files_.push_back({path, tensors->size_bytes()});
  return {};
}

sparse_models::sparse_models(sparse_models&& other) noexcept
    : folder_(std::exchange(other.folder_, {})), files_(std::move(other.files_)) {}

sparse_models& sparse_models::operator=(sparse_models&& other) noexcept {
  std::swap(folder_, other.folder_);
  std::swap(files_, other.files_);
  return *this;
}

sparse_models::~sparse_models() {
  std::error_code ignored;
  if (!folder_.empty())
    fs::remove_all(folder_, ignored);
}

std::string sparse_models::without_folder(std::string text) const {
  for (auto at = text.find(folder_ + "/"); at != std::string::npos; at = text.find(folder_ + "/", at))
    text.erase(at, folder_.size() + 1);
  return text;
}

}  // namespace longshore
