// Headers from a small writer come back as they were; damaged ones are refused or still keep all promises.
#include <algorithm>
#include <functional>
#include <numeric>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <nlohmann/json.hpp>

#include "io/safetensors.hpp"

using namespace longshore;

namespace {

std::string quoted(const std::string& text) { return nlohmann::json(text).dump(-1, ' ', *rc::gen::arbitrary<bool>()); }

/// Names from few letters, so that quotes, escapes and several bytes a character are common.
std::string random_name() {
  const auto parts = *rc::gen::container<std::vector<std::string>>(
      rc::gen::elementOf(std::vector<std::string>{"a", ".", "\"", "\\", "/", "\n", "é", "€", "😀", "0"}));
  return std::accumulate(parts.begin(), parts.end(), std::string());
}

uint64_t payload_bits(const tensor_info& tensor) {
  return std::accumulate(tensor.shape.begin(), tensor.shape.end(), uint64_t{bits(tensor.type)}, std::multiplies<>());
}

tensor_info random_tensor(size_t number, uint64_t begin_bytes) {
  tensor_info tensor{.name = random_name() + std::to_string(number), .shape = {}};
  tensor.type = static_cast<dtype>(*rc::gen::inRange<size_t>(0, dtype_count));
  tensor.shape = *rc::gen::container<std::vector<uint64_t>>(rc::gen::inRange<uint64_t>(0, 7));
  tensor.shape.resize(std::min<size_t>(tensor.shape.size(), 6));
  if (payload_bits(tensor) % 8 != 0)
    tensor.shape.push_back(4);  // four 4-bit or 6-bit elements fill whole bytes
  tensor.begin_bytes = begin_bytes;
  tensor.end_bytes = begin_bytes + payload_bits(tensor) / 8;
  return tensor;
}

safetensors_header random_header() {
  safetensors_header header;
  uint64_t end_bytes = 0;
  for (size_t i = *rc::gen::inRange<size_t>(0, 12); i > 0; --i) {
    header.tensors.push_back(random_tensor(i, end_bytes));
    end_bytes = header.tensors.back().end_bytes;
  }
  for (int i = *rc::gen::inRange(0, 3); i > 0; --i)
    header.metadata.insert(header.metadata.begin(), {std::to_string(i) + random_name(), random_name()});
  return header;
}

std::string numbers(const std::vector<uint64_t>& list) { return nlohmann::json(list).dump(); }

std::string write(const tensor_info& tensor) {
  const auto type = std::string(name(tensor.type));
  const auto offsets = numbers({tensor.begin_bytes, tensor.end_bytes});
  if (*rc::gen::weightedElement<bool>({{1, true}, {7, false}}))
    return quoted(tensor.name) + ":[\"" + type + "\"," + numbers(tensor.shape) + "," + offsets + "]";
  return quoted(tensor.name) + ": {\"shape\":" + numbers(tensor.shape) + ",\"extra\":[{}, 1e3],\"dtype\":\"" + type +
         "\", \"data_offsets\":" + offsets + "}";
}

/// The header as JSON. Tensors without bytes keep their place among equals; all others may stand anywhere.
std::string write(const safetensors_header& header) {
  const auto empty_ones_last = *rc::gen::arbitrary<bool>();
  std::vector<std::string> fields;
  for (const auto& tensor : header.tensors)
    if (!empty_ones_last || tensor.size_bytes() > 0)
      fields.insert(empty_ones_last ? fields.begin() : fields.end(), write(tensor));
  for (const auto& tensor : header.tensors)
    if (empty_ones_last && tensor.size_bytes() == 0)
      fields.push_back(write(tensor));
  std::string metadata;
  for (const auto& [key, value] : header.metadata)
    metadata += (metadata.empty() ? "" : ",") + quoted(key) + ":" + quoted(value);
  if (!metadata.empty())
    fields.push_back("\"__metadata__\":{" + metadata + "}");
  std::string json;
  for (const auto& field : fields)
    json += (json.empty() ? "" : ",\n ") + field;
  return "{" + json + "}";
}

uint64_t data_bytes(const safetensors_header& header) {
  return header.tensors.empty() ? 0 : header.tensors.back().end_bytes;
}

/// What a header that was accepted promises to those who read by it.
void check_promises(const safetensors_header& header, size_t json_bytes, uint64_t file_bytes) {
  RC_ASSERT(header.data_begin_bytes == 8 + json_bytes);
  uint64_t end_bytes = 0;
  std::vector<std::string> seen;
  for (const auto& tensor : header.tensors) {
    RC_ASSERT(tensor.begin_bytes == end_bytes);
    RC_ASSERT(payload_bits(tensor) == tensor.size_bytes() * 8);
    end_bytes = tensor.end_bytes;
    seen.push_back(tensor.name);
  }
  RC_ASSERT(header.data_begin_bytes + end_bytes == file_bytes);
  std::sort(seen.begin(), seen.end());
  RC_ASSERT(std::adjacent_find(seen.begin(), seen.end()) == seen.end());
}

}  // namespace

RC_GTEST_PROP(safetensors_property, a_written_header_comes_back_equal, ()) {
  auto wanted = random_header();
  const auto json = write(wanted);
  wanted.data_begin_bytes = 8 + json.size();
  const auto file_bytes = wanted.data_begin_bytes + data_bytes(wanted);
  const auto header = parse_header(json, file_bytes, "m.safetensors");
  if (!header)
    RC_FAIL(to_text(header.error()) + "\n" + json);
  RC_ASSERT(*header == wanted);
  check_promises(*header, json.size(), file_bytes);
}

RC_GTEST_PROP(safetensors_property, a_damaged_byte_is_refused_or_harmless, ()) {
  const auto original = random_header();
  auto json = write(original);
  const auto file_bytes = 8 + json.size() + data_bytes(original);
  const auto at = *rc::gen::inRange<size_t>(0, json.size());
  for (unsigned byte = 0; byte < 256; ++byte) {
    json[at] = static_cast<char>(byte);
    const auto header = parse_header(json, file_bytes, "m.safetensors");
    if (header)
      check_promises(*header, json.size(), file_bytes);
    else
      RC_ASSERT(header.error().code == errc::bad_format && header.error().offset_bytes.value() <= file_bytes);
  }
}

RC_GTEST_PROP(safetensors_property, a_file_of_any_other_length_is_refused, ()) {
  const auto original = random_header();
  const auto json = write(original);
  const auto file_bytes = 8 + json.size() + data_bytes(original);
  const auto other_bytes = *rc::gen::inRange<uint64_t>(0, file_bytes * 2);
  RC_PRE(other_bytes != file_bytes);
  RC_ASSERT(!parse_header(json, other_bytes, "m.safetensors").has_value());
}
