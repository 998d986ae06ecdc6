#include "io/digest_file.hpp"

#include <algorithm>
#include <span>

#include <fcntl.h>

#include "io/digest.hpp"

namespace longshore {
namespace {

/// Reads the data section front to back, a block ahead of whoever asks for pieces of it.
class block_reader {
public:
  block_reader(const model_file& file, uint64_t begin_bytes, const digest_options& options)
      : file_(file),
        begin_bytes_(begin_bytes),
        next_bytes_(begin_bytes),
        options_(options),
        block_(options.block_bytes) {}

  /// At most `wanted_bytes` of what comes next; never empty for a wish that is not.
  expected<std::span<const std::byte>> next(uint64_t wanted_bytes) {
    if (rest_.empty())
      if (auto filled = fill(); !filled)
        return tl::unexpected(filled.error());
    const auto piece = rest_.first(std::min<uint64_t>(wanted_bytes, rest_.size()));
    rest_ = rest_.subspan(piece.size());
    return piece;
  }

private:
  expected<void> fill() {
    const auto length = std::min<uint64_t>(block_.size(), file_.size_bytes() - next_bytes_);
    ::posix_fadvise(file_.fd(), static_cast<off_t>(next_bytes_ + length), static_cast<off_t>(block_.size()),
                    POSIX_FADV_WILLNEED);
    if (auto read = file_.read_at(std::span{block_}.first(length), next_bytes_); !read)
      return read;
    next_bytes_ += length;
    rest_ = std::span<const std::byte>{block_}.first(length);
    if (options_.progress && !options_.progress(next_bytes_ - begin_bytes_))
      return unexpected(error{.code = errc::cancelled, .what = "the check was stopped", .path = file_.path()});
    return {};
  }

  const model_file& file_;
  const uint64_t begin_bytes_;
  uint64_t next_bytes_;
  const digest_options& options_;
  std::vector<std::byte> block_;
  std::span<const std::byte> rest_;
};

}  // namespace

expected<std::vector<std::string>> digest_file(const model_file& file, const safetensors_header& header,
                                               const digest_options& options) {
  std::vector<std::string> digests;
  digests.reserve(header.tensors.size());
  block_reader reader{file, header.data_begin_bytes, options};
  xxh3_128_stream stream;
  for (const auto& tensor : header.tensors) {
    for (auto left = tensor.size_bytes(); left > 0;) {
      const auto piece = reader.next(left);
      if (!piece)
        return tl::unexpected(piece.error());
      stream.add(*piece);
      left -= piece->size();
    }
    digests.push_back(stream.finish_hex());
  }
  if (auto same = file.check_unchanged(); !same)
    return tl::unexpected(same.error());
  return digests;
}

}  // namespace longshore
