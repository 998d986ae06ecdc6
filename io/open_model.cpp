#include "io/open_model.hpp"

#include <array>
#include <string>

namespace longshore {

expected<safetensors_header> read_header(const model_file& file) {
  std::array<std::byte, 8> prefix{};
  const auto prefix_bytes = std::min<uint64_t>(prefix.size(), file.size_bytes());
  if (auto read = file.read_at(std::span{prefix}.first(prefix_bytes), 0); !read)
    return tl::unexpected(read.error());
  const auto length =
      header_length(std::span<const std::byte>{prefix}.first(prefix_bytes), file.size_bytes(), file.path());
  if (!length)
    return tl::unexpected(length.error());
  std::string json(*length, '\0');
  if (auto read = file.read_at(std::as_writable_bytes(std::span{json}), prefix.size()); !read)
    return tl::unexpected(read.error());
  return parse_header(json, file.size_bytes(), file.path());
}

expected<opened_file> open_model(const file_source& source) {
  auto file = model_file::open(source.path);
  if (!file)
    return tl::unexpected(file.error());
  if (file->identity() != source.identity)
    return unexpected(error{.code = errc::changed_on_disk,
                            .what = "another file took this name since it was asked for; ask again",
                            .path = source.path});
  auto header = read_header(*file);
  if (!header)
    return tl::unexpected(header.error());
  return opened_file{std::move(*file), std::make_shared<const safetensors_header>(std::move(*header))};
}

}  // namespace longshore
