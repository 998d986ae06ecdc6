#include "app/cli/layout.hpp"

#include <cassert>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "app/cli/shared_file.hpp"

namespace longshore {
namespace {

using nlohmann::json;

unexpected bad(const std::string& path, std::string what, std::string tensor = {}) {
  return unexpected(error{.code = errc::bad_format, .what = std::move(what), .path = path, .where = std::move(tensor)});
}

expected<std::string> read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    const auto code = errno == ENOENT ? errc::not_found : errc::io_failed;
    return unexpected(error{.code = code, .what = "cannot open the layout", .path = path, .os_error = errno});
  }
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (in.bad())
    return unexpected(
        error{.code = errc::io_failed, .what = "cannot read the layout", .path = path, .os_error = errno});
  return text;
}

/// Nothing where the bytes pass 64 bits or do not come out whole.
std::optional<uint64_t> checked_bytes(const layout_tensor& tensor) {
  uint64_t total_bits = bits(tensor.type);
  for (auto extent : tensor.shape)
    if (__builtin_mul_overflow(total_bits, extent, &total_bits))
      return std::nullopt;
  if (total_bits % 8 != 0)
    return std::nullopt;
  return total_bits / 8;
}

expected<layout_tensor> read_tensor(const std::string& name, const json& fields, const std::string& path) {
  if (!fields.is_object() || !fields.contains("dtype") || !fields.contains("shape"))
    return bad(path, "a tensor must be an object with dtype and shape", name);
  const auto& type_name = fields["dtype"];
  const auto type = type_name.is_string() ? dtype_from_name(type_name.get_ref<const std::string&>()) : std::nullopt;
  if (!type)
    return bad(path, "unknown dtype " + type_name.dump(), name);
  layout_tensor tensor{.name = name, .type = *type, .shape = {}};
  if (!fields["shape"].is_array())
    return bad(path, "shape must be a list of counts", name);
  for (const auto& extent : fields["shape"]) {
    if (!extent.is_number_unsigned())
      return bad(path, "shape must be a list of counts", name);
    tensor.shape.push_back(extent.get<uint64_t>());
  }
  return tensor;
}

}  // namespace

uint64_t layout_tensor::elements() const {
  uint64_t count = 1;
  for (auto extent : shape)
    count *= extent;
  return count;
}

uint64_t layout_tensor::size_bytes() const { return elements() * bits(type) / 8; }

uint64_t layout::size_bytes() const {
  uint64_t sum = 0;
  for (const auto& tensor : tensors)
    sum += tensor.size_bytes();
  return sum;
}

expected<layout> read_layout(const std::string& path, layout_limits limits) {
  const auto text = read_text(path);
  if (!text)
    return unexpected(text.error());
  const auto document = json::parse(*text, nullptr, false);
  if (!document.is_object() || !document.contains("tensors") || !document["tensors"].is_object())
    return bad(path, "a layout must be a JSON object that holds an object of tensors");

  layout result;
  uint64_t total_bytes = 0;
  for (const auto& [name, fields] : document["tensors"].items()) {
    auto tensor = read_tensor(name, fields, path);
    if (!tensor)
      return unexpected(tensor.error());
    const auto size_bytes = checked_bytes(*tensor);
    if (!size_bytes || *size_bytes > limits.max_total_bytes - total_bytes)
      return bad(path, "the tensors must be whole bytes and at most " + std::to_string(limits.max_total_bytes), name);
    total_bytes += *size_bytes;
    result.tensors.push_back(std::move(*tensor));
  }
  return result;
}

expected<layout> named_layout(std::string_view name) {
  const auto file = std::string(name) + ".json";
  const auto path = shared_file("layouts", file);
  if (!path)
    return unexpected(error{.code = errc::not_found, .what = "no layout of that name", .path = file});
  return read_layout(*path);
}

layout uniform_layout(size_t count, uint64_t bytes_each) {
  assert(bytes_each % 2 == 0);
  layout result;
  result.tensors.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    auto number = std::to_string(i);
    number.insert(0, number.size() < 6 ? 6 - number.size() : 0, '0');  // so that they sort by number
    result.tensors.push_back({.name = "blocks." + number + ".weight", .type = dtype::F16, .shape = {bytes_each / 2}});
  }
  return result;
}

layout part_of(const layout& whole, std::string_view prefix) {
  layout result;
  for (const auto& tensor : whole.tensors) {
    if (!tensor.name.starts_with(prefix))
      continue;
    result.tensors.push_back(tensor);
    result.tensors.back().name.erase(0, prefix.size());
  }
  return result;
}

}  // namespace longshore
