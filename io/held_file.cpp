#include "io/held_file.hpp"

#include <algorithm>
#include <cassert>
#include <numeric>

namespace longshore {
namespace {

std::vector<uint32_t> order_by_name(const std::vector<tensor_info>& tensors) {
  std::vector<uint32_t> order(tensors.size());
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return tensors[a].name < tensors[b].name; });
  return order;
}

}  // namespace

held_file::held_file(std::string path, std::shared_ptr<const safetensors_header> header, arena bytes)
    : path_(std::move(path)),
      header_(std::move(header)),
      bytes_(std::move(bytes)),
      by_name_(order_by_name(header_->tensors)) {}

held_file::held_file(std::string path, std::shared_ptr<const safetensors_header> header, mapping bytes)
    : path_(std::move(path)),
      header_(std::move(header)),
      bytes_(std::move(bytes)),
      by_name_(order_by_name(header_->tensors)) {}

const tensor_info* held_file::find(std::string_view name) const {
  auto found = std::lower_bound(by_name_.begin(), by_name_.end(), name, [&](uint32_t index, std::string_view wanted) {
    return tensors()[index].name < wanted;
  });
  if (found == by_name_.end() || tensors()[*found].name != name)
    return nullptr;
  return &tensors()[*found];
}

std::span<const std::byte> held_file::bytes_of(const tensor_info& tensor) const {
  assert(tensor.begin_bytes <= tensor.end_bytes);
  return {data() + header_->data_begin_bytes + tensor.begin_bytes, tensor.end_bytes - tensor.begin_bytes};
}

const std::byte* held_file::data() const {
  return std::visit([](const auto& bytes) -> const std::byte* { return bytes.data(); }, bytes_);
}

}  // namespace longshore
