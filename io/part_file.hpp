#pragma once
/// A file that exists under its name only when it is complete: PATH.part while it grows, PATH after `commit`.
///
/// Owns the descriptor and a buffer of `buffer_bytes`. Without a commit nothing stays on disk.
/// Threads: one caller at a time.
/// Failure: the first one is kept as io_failed with path and errno, what comes after goes nowhere, and every later
/// call gives it again; so a writer may ask once at the end.

#include <cstddef>
#include <optional>
#include <string>

#include "cache/error.hpp"

namespace longshore {

class part_file {
public:
  part_file(std::string path, size_t buffer_bytes);
  part_file(const part_file&) = delete;
  part_file& operator=(const part_file&) = delete;
  ~part_file();

  /// Append to this, then call `appended`: what is built in place need not be copied here.
  std::string& buffer() { return buffer_; }
  void appended();

  /// Hands the buffer to the system.
  expected<void> write_out();

  /// Writes the rest and gives the file its name, over what had it before.
  expected<void> commit();

private:
  std::string part_path() const { return path_ + ".part"; }
  expected<void> status() const;
  void fail(const char* what);
  void discard();

  std::string path_;
  size_t buffer_bytes_;
  std::string buffer_;
  int fd_ = -1;
  bool part_exists_ = false;
  std::optional<error> failure_;
};

}  // namespace longshore
