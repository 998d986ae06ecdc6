#pragma once
/// One file of weights in memory: its tensors by name, and their bytes, where they lie in the file's own layout or,
/// after a cast, in one that leaves gaps between them.
///
/// Owns the bytes (an arena, or a mapping). Immutable once its load is done, and shared by pointer: whoever holds it
/// may read it from any thread. Lookups cannot fail otherwise than by finding nothing.

#include <memory>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "io/arena.hpp"
#include "io/mapping.hpp"
#include "io/safetensors.hpp"

namespace longshore {

class held_file {
public:
  held_file(std::string path, std::shared_ptr<const safetensors_header> header, arena bytes);
  held_file(std::string path, std::shared_ptr<const safetensors_header> header, mapping bytes);

  const std::string& path() const { return path_; }
  const std::vector<tensor_info>& tensors() const { return header_->tensors; }
  const safetensors_header& header() const { return *header_; }

  /// The tensor of this name, or null. Logarithmic.
  const tensor_info* find(std::string_view name) const;

  /// The bytes of one of this file's tensors.
  std::span<const std::byte> bytes_of(const tensor_info& tensor) const;

  bool is_mapped() const { return std::holds_alternative<mapping>(bytes_); }

private:
  const std::byte* data() const;

  std::string path_;
  std::shared_ptr<const safetensors_header> header_;
  std::variant<arena, mapping> bytes_;
  std::vector<uint32_t> by_name_;  // indices into the header's tensors
};

}  // namespace longshore
