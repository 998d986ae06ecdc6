// Fuzzes the safetensors header: bytes 0 and 1 say how long the data is, the rest is the header's JSON.
#include <set>

#include "fuzz_check.hpp"
#include "io/safetensors.hpp"

using namespace longshore;

namespace {

const std::string path = "fuzz.safetensors";

void check_tensor(const tensor_info& tensor, uint64_t previous_end_bytes) {
  unsigned __int128 size_bits = bits(tensor.type);
  for (auto dimension : tensor.shape)
    size_bits *= dimension;
  FUZZ_CHECK(tensor.begin_bytes == previous_end_bytes);
  FUZZ_CHECK(tensor.end_bytes >= tensor.begin_bytes);
  FUZZ_CHECK(size_bits == static_cast<unsigned __int128>(tensor.size_bytes()) * 8);
  FUZZ_CHECK(tensor.name.find('\0') == std::string::npos);
  FUZZ_CHECK(dtype_from_name(name(tensor.type)) == tensor.type);
}

void check_header(const safetensors_header& header, size_t json_bytes, uint64_t file_bytes) {
  FUZZ_CHECK(header.data_begin_bytes == header_length_bytes + json_bytes);
  uint64_t end_bytes = 0;
  std::set<std::string_view> names;
  for (const auto& tensor : header.tensors) {
    check_tensor(tensor, end_bytes);
    FUZZ_CHECK(names.insert(tensor.name).second);
    end_bytes = tensor.end_bytes;
  }
  FUZZ_CHECK(header.data_begin_bytes + end_bytes == file_bytes);
  for (size_t i = 1; i < header.metadata.size(); ++i)
    FUZZ_CHECK(header.metadata[i - 1].first < header.metadata[i].first);
}

void check_length(const uint8_t* data, size_t size) {
  const auto length = header_length(std::as_bytes(std::span(data, size)), size, path);
  if (length)
    FUZZ_CHECK(*length + header_length_bytes <= size);
  else
    FUZZ_CHECK(length.error().code == errc::bad_format);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  check_length(data, size);
  if (size < 2)
    return 0;
  const uint64_t data_bytes = data[0] | data[1] << 8;
  const std::string_view json(reinterpret_cast<const char*>(data) + 2, size - 2);
  const auto file_bytes = header_length_bytes + json.size() + data_bytes;
  const auto header = parse_header(json, file_bytes, path);
  if (header) {
    check_header(*header, json.size(), file_bytes);
    FUZZ_CHECK(!parse_header(json, file_bytes + 1, path));
  } else {
    FUZZ_CHECK(header.error().code == errc::bad_format && !header.error().what.empty());
    FUZZ_CHECK(header.error().offset_bytes && *header.error().offset_bytes <= file_bytes);
  }
  return 0;
}
