#pragma once
/// The files of a scenario's models: real headers, and holes where the weights would be.
///
/// Owns a temporary folder and what is in it; its end removes both. A file is as long as that of the real model and
/// takes as much of the disk as its header does. Blocks on the file system. One thread. Failure: `io_failed` with path
/// and errno; what reading a layout gives; `bad_config` where a layout's scaled size is too large.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "app/simulate/scenario.hpp"

namespace longshore {

class sparse_models {
public:
  static expected<sparse_models> make(std::span<const simulated_model> models);

  sparse_models(sparse_models&& other) noexcept;
  sparse_models& operator=(sparse_models&& other) noexcept;
  ~sparse_models();

  /// In the order of the models.
  const std::string& path(size_t model) const { return files_[model].path; }
  uint64_t tensor_bytes(size_t model) const { return files_[model].tensor_bytes; }

  /// The text with the files called by their names alone: the folder's name is another one each time.
  std::string without_folder(std::string text) const;

private:
  struct file {
    std::string path;
    uint64_t tensor_bytes;
  };

  sparse_models() = default;
  expected<void> add(const simulated_model& model);

  std::string folder_;
  std::vector<file> files_;
};

}  // namespace longshore
