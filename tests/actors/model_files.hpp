#pragma once
/// Small models on disk for the tests of actors, and the check that a lease holds exactly their bytes.
///
/// Owns a folder and what was written to it. One thread. Fails by failing expectations.

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "gpu/cast.hpp"
#include "gpu/cast_paths.hpp"
#include "io/model_source.hpp"
#include "messages/cache.hpp"
#include "tests/io/test_files.hpp"

namespace longshore {

/// The data of a held file, tensor after tensor.
inline byte_vector data_of(const held_file& file) {
  byte_vector data;
  for (const auto& tensor : file.tensors()) {
    const auto bytes = file.bytes_of(tensor);
    data.insert(data.end(), bytes.begin(), bytes.end());
  }
  return data;
}

class model_files {
public:
  /// A model of three tensors, `data_bytes` in all, whose bytes the seed gives.
  std::string write(const std::string& name, size_t data_bytes, uint64_t seed) {
    return write(
        name, {{name + ".a", data_bytes / 2}, {name + ".b", 1}, {name + ".c", data_bytes - data_bytes / 2 - 1}}, seed);
  }

  std::string write(const std::string& name, const std::vector<made_tensor>& tensors, uint64_t seed) {
    contents_[folder_ / name] = made_model(tensors, seed);
    tensors_[folder_ / name] = tensors;
    write_file(folder_ / name, contents_.at(folder_ / name));
    return folder_ / name;
  }

  std::string write_text(const std::string& name, const std::string& text) {
    write_file(folder_ / name, text);
    return folder_ / name;
  }

  std::string path(const std::string& name) const { return folder_ / name; }

  /// The whole file as it was last written here.
  const byte_vector& content(const std::string& path) const { return contents_.at(path); }

  get_model request(const std::string& key, const std::vector<std::string>& paths,
                    hold_choice hold = hold_choice::owned, const std::string& cast_to = {}) const {
    auto source = find_source(paths, {.hold = hold, .cast_to = cast_to});
    EXPECT_TRUE(source.has_value()) << to_text(source.error());
    return {.key = key, .kind = model_kind::ckpt, .source = std::move(*source)};
  }

  /// Whether the file in memory is the one on disk, byte by byte, or, where a tensor's type is another, its cast.
  bool holds_right_bytes(const held_file& file) const {
    const auto& content = contents_.at(file.path());
    size_t at = made_header(tensors_.at(file.path())).size();
    for (const auto& made : tensors_.at(file.path())) {
      const auto* tensor = file.find(made.name);
      if (tensor == nullptr ||
          !same_bytes(file.bytes_of(*tensor), right_bytes(made, content.data() + at, tensor->type)))
        return false;
      at += made.size_bytes;
    }
    return at == content.size();
  }
  bool holds_right_bytes(const model_answer& answer) const {
    if (!answer.lease)
      return false;
    for (const auto& file : answer.lease->model().files)
      if (!holds_right_bytes(*file))
        return false;
    return true;
  }

  /// What a tensor with these bytes in its file is as a tensor of the type, by the portable code.
  static byte_vector right_bytes(const made_tensor& made, const std::byte* in_file, dtype type) {
    if (made.type == name(type))
      return {in_file, in_file + made.size_bytes};
    const auto from = float_format_of(dtype_from_name(made.type).value()), to = float_format_of(type);
    const auto elements = made.size_bytes / made.element_bytes;
    byte_vector cast(elements * bits(type) / 8);
    portable_casts()[static_cast<size_t>(from.value())][static_cast<size_t>(to.value())](in_file, cast.data(),
                                                                                         elements);
    return cast;
  }

private:
  test_folder folder_;
  std::map<std::string, byte_vector> contents_;
  std::map<std::string, std::vector<made_tensor>> tensors_;
};

/// Says that a file was written later than it was: two writes within one tick of the kernel's clock look like one.
inline void move_mtime(const std::string& path, int seconds) {
  struct stat s = {};
  ASSERT_EQ(::stat(path.c_str(), &s), 0);
  const timespec times[2] = {s.st_atim, {s.st_mtim.tv_sec + seconds, s.st_mtim.tv_nsec}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
}

}  // namespace longshore
