#include "io/safetensors.hpp"

#include <algorithm>
#include <cassert>
#include <limits>
#include <numeric>
#include <tuple>

#include "io/repeated_name.hpp"
#include "io/safetensors_json.hpp"

namespace longshore {
namespace {

struct dtype_row {
  std::string_view name;
  unsigned bits;
};

constexpr std::array<dtype_row, dtype_count> dtype_rows{{
    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"BOOL", 8},        {"U8", 8},          {"I8", 8},
    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
    {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},        {"U32", 32},        {"F32", 32},
    {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64},
}};

std::optional<uint64_t> product(uint64_t a, uint64_t b) {
  uint64_t result = 0;
  if (__builtin_mul_overflow(a, b, &result))
    return std::nullopt;
  return result;
}

/// Bits by shape and dtype. A zero behind an overflow does not undo it: the order of the dimensions matters.
std::optional<uint64_t> size_bits(const tensor_info& tensor) {
  std::optional<uint64_t> count = 1;
  for (auto dimension : tensor.shape) {
    count = product(*count, dimension);
    if (!count)
      return std::nullopt;
  }
  return product(*count, bits(tensor.type));
}

std::string range_text(const tensor_info& tensor) {
  return "[" + std::to_string(tensor.begin_bytes) + ", " + std::to_string(tensor.end_bytes) + "]";
}

/// What is wrong with a tensor that follows data up to `previous_end_bytes`; empty when nothing is.
std::string flaw(const tensor_info& tensor, uint64_t previous_end_bytes) {
  if (tensor.begin_bytes != previous_end_bytes)
    return "data_offsets " + range_text(tensor) + " should begin at " + std::to_string(previous_end_bytes) +
           ", where the tensor before it ends; the header is damaged or was written wrongly: fetch or export it again";
  if (tensor.end_bytes < tensor.begin_bytes)
    return "data_offsets " + range_text(tensor) +
           " end before they begin; the file was written wrongly: export it again";
  const auto tensor_bits = size_bits(tensor);
  if (!tensor_bits)
    return "the shape times " + std::to_string(bits(tensor.type)) +
           " bits overflows 64 bits; no real tensor is so large";
  if (*tensor_bits % 8 != 0)
    return "the shape gives " + std::to_string(*tensor_bits) + " bits of " + std::string(name(tensor.type)) +
           ", which is no whole number of bytes";
  if (*tensor_bits / 8 != tensor.size_bytes())
    return "shape and dtype " + std::string(name(tensor.type)) + " need " + std::to_string(*tensor_bits / 8) +
           " bytes, but data_offsets " + range_text(tensor) + " span " + std::to_string(tensor.size_bytes());
  return {};
}

/// Header positions in the order of the data.
std::vector<size_t> data_order(const std::vector<tensor_info>& tensors) {
  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const auto before = [&](size_t a, size_t b) {
    return std::tuple(tensors[a].begin_bytes, tensors[a].end_bytes, a) <
           std::tuple(tensors[b].begin_bytes, tensors[b].end_bytes, b);
  };
  if (!std::is_sorted(order.begin(), order.end(), before))
    std::sort(order.begin(), order.end(), before);
  return order;
}

std::optional<size_t> repeated_tensor(const std::vector<tensor_info>& tensors) {
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const auto& tensor : tensors)
    names.push_back(tensor.name);
  return repeated_name(names);
}

std::string wrong_length(uint64_t expected_bytes, uint64_t file_bytes) {
  if (file_bytes < expected_bytes)
    return "the file is cut short: its tensors end at byte " + std::to_string(expected_bytes) + ", but it has " +
           std::to_string(file_bytes) + " bytes; download or copy it again";
  return "the file has " + std::to_string(file_bytes - expected_bytes) +
         " bytes behind its last tensor, which ends at " + std::to_string(expected_bytes) +
         "; download or copy it again";
}

/// The first rule that the tensors break, with the data rules applied in the order of the data.
std::optional<error> check_tensors(const header_fields& fields, const std::vector<size_t>& order, uint64_t data_bytes,
                                   uint64_t data_begin_bytes, const std::string& path) {
  const auto fault = [&](size_t index, std::string what) {
    return error{.code = errc::bad_format,
                 .what = std::move(what),
                 .path = path,
                 .offset_bytes = fields.name_offsets_bytes[index],
                 .where = fields.tensors[index].name};
  };
  if (const auto index = repeated_tensor(fields.tensors))
    return fault(*index, "the header names this tensor twice; each name may stand once");
  uint64_t end_bytes = 0;
  for (auto index : order) {
    if (auto what = flaw(fields.tensors[index], end_bytes); !what.empty())
      return fault(index, std::move(what));
    end_bytes = fields.tensors[index].end_bytes;
  }
  if (end_bytes == data_bytes)
    return std::nullopt;
  const auto file_bytes = data_begin_bytes + data_bytes;
  if (end_bytes > std::numeric_limits<uint64_t>::max() - data_begin_bytes)
    return fault(order.back(), "data_offsets end past what any file can hold");
  return error{.code = errc::bad_format,
               .what = wrong_length(data_begin_bytes + end_bytes, file_bytes),
               .path = path,
               .offset_bytes = std::min(file_bytes, data_begin_bytes + end_bytes)};
}

std::vector<tensor_info> in_order(std::vector<tensor_info>&& tensors, const std::vector<size_t>& order) {
  if (std::is_sorted(order.begin(), order.end()))
    return std::move(tensors);
  std::vector<tensor_info> sorted;
  sorted.reserve(tensors.size());
  for (auto index : order)
    sorted.push_back(std::move(tensors[index]));
  return sorted;
}

}  // namespace

std::string_view name(dtype type) { return dtype_rows[static_cast<size_t>(type)].name; }

unsigned bits(dtype type) { return dtype_rows[static_cast<size_t>(type)].bits; }

std::optional<dtype> dtype_from_name(std::string_view text) {
  for (size_t i = 0; i < dtype_rows.size(); ++i)
    if (dtype_rows[i].name == text)
      return static_cast<dtype>(i);
  return std::nullopt;
}

expected<uint64_t> header_length(std::span<const std::byte> first_bytes, uint64_t file_bytes, const std::string& path,
                                 header_limits limits) {
  const auto fault = [&](std::string what) {
    return unexpected(error{.code = errc::bad_format, .what = std::move(what), .path = path, .offset_bytes = 0});
  };
  if (file_bytes < header_length_bytes)
    return fault("the file has " + std::to_string(file_bytes) +
                 " bytes, and a safetensors file begins with 8 for its header's length; download or copy it again");
  assert(first_bytes.size() >= header_length_bytes);
  uint64_t length = 0;
  for (size_t i = header_length_bytes; i-- > 0;)
    length = length << 8 | std::to_integer<uint64_t>(first_bytes[i]);
  if (length > limits.max_header_bytes)
    return fault("the header would have " + std::to_string(length) + " bytes, more than the " +
                 std::to_string(limits.max_header_bytes) + " allowed; this is probably not a safetensors file");
  if (length > file_bytes - header_length_bytes)
    return fault("the file is cut short: its header should have " + std::to_string(length) + " bytes, but only " +
                 std::to_string(file_bytes - header_length_bytes) + " are there; download or copy it again");
  return length;
}

expected<safetensors_header> parse_header(std::string_view json, uint64_t file_bytes, const std::string& path,
                                          header_limits limits) {
  if (json.size() > limits.max_header_bytes || file_bytes < header_length_bytes ||
      json.size() > file_bytes - header_length_bytes)
    return unexpected(error{.code = errc::bad_format,
                            .what = "a header of " + std::to_string(json.size()) + " bytes does not fit a file of " +
                                    std::to_string(file_bytes) + " or the limit of " +
                                    std::to_string(limits.max_header_bytes),
                            .path = path,
                            .offset_bytes = 0});
  auto fields = read_header_fields(json, path, limits);
  if (!fields)
    return unexpected(std::move(fields.error()));
  const auto data_begin_bytes = header_length_bytes + json.size();
  const auto order = data_order(fields->tensors);
  if (auto fault = check_tensors(*fields, order, file_bytes - data_begin_bytes, data_begin_bytes, path))
    return unexpected(std::move(*fault));
  return safetensors_header{data_begin_bytes, in_order(std::move(fields->tensors), order), std::move(fields->metadata)};
}

}  // namespace longshore
