#pragma once
/// The safetensors format: what a file's header says about its tensors, checked against the file's length.
///
/// Layout: 8 bytes little-endian header length N, N bytes of JSON, then the data, without holes or overlaps.
/// Owns nothing; pure (no file is opened); safe from any thread.
/// Limits: `header_limits`. Memory is a small multiple of the header's bytes.
/// Failure: `errc::bad_format` with the path, the byte offset in the file where it is known, and the tensor's name in
/// `where`. All that the reference parser rejects is rejected; so are a tensor name that comes twice or holds a NUL,
/// and a `__metadata__` that is no object. A header that parses needs no further check before its ranges are read.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cache/error.hpp"

namespace longshore {

/// Element types under their names in the format.
enum class dtype : uint8_t {
  F4,
  F6_E2M3,
  F6_E3M2,
  BOOL,
  U8,
  I8,
  F8_E5M2,
  F8_E4M3,
  F8_E8M0,
  F8_E4M3FNUZ,
  F8_E5M2FNUZ,
  I16,
  U16,
  F16,
  BF16,
  I32,
  U32,
  F32,
  C64,
  F64,
  I64,
  U64,
};

inline constexpr size_t dtype_count = static_cast<size_t>(dtype::U64) + 1;

std::string_view name(dtype type);

/// The inverse of `name`; letters must match in case.
std::optional<dtype> dtype_from_name(std::string_view text);

/// Bits of one element: 4 to 64.
unsigned bits(dtype type);

/// Whether it is a float type that weights are cast from and to: F32, F16, BF16, F8_E4M3 or F8_E5M2.
constexpr bool is_castable(dtype type) {
  return type == dtype::F32 || type == dtype::F16 || type == dtype::BF16 || type == dtype::F8_E4M3 ||
         type == dtype::F8_E5M2;
}

struct tensor_info {
  std::string name;
  dtype type = dtype::U8;
  std::vector<uint64_t> shape;  ///< empty for a scalar
  uint64_t begin_bytes = 0;     ///< in the data section
  uint64_t end_bytes = 0;       ///< in the data section, one past the last

  uint64_t size_bytes() const { return end_bytes - begin_bytes; }
  friend bool operator==(const tensor_info&, const tensor_info&) = default;
};

struct safetensors_header {
  uint64_t data_begin_bytes = 0;     ///< of the data section in the file
  std::vector<tensor_info> tensors;  ///< by (begin, end), equals in the header's order; contiguous from 0
  std::vector<std::pair<std::string, std::string>> metadata;  ///< by key; the last of several values for one key

  friend bool operator==(const safetensors_header&, const safetensors_header&) = default;
};

struct header_limits {
  uint64_t max_header_bytes = 100'000'000;
  unsigned max_depth = 127;  ///< objects and arrays within each other, the outermost included
};

inline constexpr uint64_t header_length_bytes = 8;

/// The length N of the JSON header, from the file's first 8 bytes (fewer only where the file has fewer).
expected<uint64_t> header_length(std::span<const std::byte> first_bytes, uint64_t file_bytes, const std::string& path,
                                 header_limits limits = {});

/// The header from its JSON text (the N bytes behind the length) and the length of the whole file.
expected<safetensors_header> parse_header(std::string_view json, uint64_t file_bytes, const std::string& path,
                                          header_limits limits = {});

}  // namespace longshore
