#pragma once
/// An open file of weights: its descriptors, and the proof that it is still the same file.
///
/// Owns two descriptors: a buffered one, and one for O_DIRECT where the file system takes it (`direct_fd() == -1` where
/// not). Both are of one inode, whatever happens to the path in between. Thread rule: `const` methods from any thread.
/// Failure: `not_found`, `io_failed` with errno, `unsupported` for what is no regular file, `changed_on_disk`.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "cache/error.hpp"
#include "cache/file_identity.hpp"

namespace longshore {

/// The identity of the file behind `path`, links followed.
expected<file_identity> identity_of(const std::string& path);

class model_file {
public:
  static expected<model_file> open(const std::string& path);

  model_file(model_file&& other) noexcept;
  model_file& operator=(model_file&& other) noexcept;
  model_file(const model_file&) = delete;
  model_file& operator=(const model_file&) = delete;
  ~model_file();

  const std::string& path() const { return path_; }
  const file_identity& identity() const { return identity_; }
  uint64_t size_bytes() const { return identity_.size_bytes; }
  int fd() const { return fd_; }
  int direct_fd() const { return direct_fd_; }

  /// What O_DIRECT asks of offsets, lengths and addresses here (statx, STATX_DIOALIGN; 4096 where the kernel is
  /// silent).
  uint64_t direct_alignment_bytes() const { return direct_alignment_bytes_; }

  /// Fills `destination` from `offset_bytes`, or fails: an early end of the file is `bad_format` and names the offset.
  expected<void> read_at(std::span<std::byte> destination, uint64_t offset_bytes) const;

  /// Fails with `changed_on_disk` when the open file, or what its path now leads to, is not what was opened.
  expected<void> check_unchanged() const;

private:
  model_file() = default;
  void open_direct();

  std::string path_;
  file_identity identity_;
  int fd_ = -1;
  int direct_fd_ = -1;
  uint64_t direct_alignment_bytes_ = 4096;
};

}  // namespace longshore
