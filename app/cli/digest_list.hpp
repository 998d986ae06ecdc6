#pragma once
/// The JSON file of `verify --write` and `--against`: for each model file its tensors' XXH3-128 in hex.
///
///   {"files": {"sd15.safetensors": {"tensor name": "32 hex digits", ...}}}
///
/// Files go by their name without folders, so that a list stays good when models move. A flat object of names and
/// digests, as `load --digest --json` has under "digests", is taken for whatever single file is checked.
/// Failure: `not_found`, `io_failed`, and `bad_format` with the JSON pointer.

#include <map>
#include <string>
#include <vector>

#include "cache/error.hpp"

namespace longshore {

struct named_digest {
  std::string tensor;
  std::string digest;
};

struct file_digests {
  std::string file;                   ///< name without folders
  std::vector<named_digest> tensors;  ///< in the file's order
};

class digest_list {
public:
  static expected<digest_list> read(const std::string& path);
  static expected<void> write(const std::string& path, const std::vector<file_digests>& files);

  /// Whether `actual` is what the list says of this file: else `mismatch` with the first tensor that differs, in the
  /// file's order, or that only one side has.
  expected<void> check(const std::string& path, const file_digests& actual) const;

private:
  std::string path_;
  std::map<std::string, std::map<std::string, std::string>> files_;
  std::map<std::string, std::string> flat_;
};

}  // namespace longshore
