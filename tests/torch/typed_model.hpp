#pragma once
/// Files of tensors of any type, written without the code under test.
///
/// Owns nothing; pure; never fails.

#include <string>
#include <vector>

#include "tests/io/test_files.hpp"

namespace longshore {

struct typed_tensor {
  std::string name;
  std::string type;  // as the format calls it
  std::vector<uint64_t> shape;
  byte_vector bytes;
};

inline std::string shape_text(const std::vector<uint64_t>& shape) {
  std::string text;
  for (const auto dimension : shape)
    text += (text.empty() ? "" : ",") + std::to_string(dimension);
  return "[" + text + "]";
}

/// The data begins at a multiple of 8 bytes, one tensor right behind the other.
inline byte_vector typed_model(const std::vector<typed_tensor>& tensors) {
  std::string json = "{";
  byte_vector data;
  for (const auto& tensor : tensors) {
    json += (json.size() > 1 ? ",\"" : "\"") + tensor.name + R"(":{"dtype":")" + tensor.type + R"(","shape":)" +
            shape_text(tensor.shape) + R"(,"data_offsets":[)" + std::to_string(data.size()) + ",";
    data.insert(data.end(), tensor.bytes.begin(), tensor.bytes.end());
    json += std::to_string(data.size()) + "]}";
  }
  json += "}";
  json.append((8 - json.size() % 8) % 8, ' ');
  byte_vector file(8);
  for (size_t i = 0; i < file.size(); ++i)
    file[i] = static_cast<std::byte>(json.size() >> (8 * i));
  const auto text = std::as_bytes(std::span{json});
  file.insert(file.end(), text.begin(), text.end());
  file.insert(file.end(), data.begin(), data.end());
  return file;
}

}  // namespace longshore
