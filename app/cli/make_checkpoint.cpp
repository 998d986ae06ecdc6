#include "app/cli/make_checkpoint.hpp"

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <span>
#include <string_view>
#include <utility>

#include <xxhash.h>
#include <nlohmann/json.hpp>

#include "app/cli/weight_stream.hpp"
#include "io/part_file.hpp"

namespace longshore {
namespace {

using nlohmann::ordered_json;
using tensor_list = std::vector<layout_tensor>;

constexpr std::string_view extension = ".safetensors";

bool is_float(dtype type) {
  return type == dtype::F64 || type == dtype::F32 || type == dtype::F16 || type == dtype::BF16 ||
         name(type).starts_with("F8_");
}

/// With the types asked for, in the order of the file: the library sorts by its list of types backwards, then by name.
layout in_file_order(const layout& model, std::optional<dtype> float_type) {
  auto result = model;
  auto& tensors = result.tensors;
  if (float_type)
    for (auto& tensor : tensors)
      if (is_float(tensor.type))
        tensor.type = *float_type;
  std::ranges::sort(tensors, [](const layout_tensor& a, const layout_tensor& b) {
    return a.type != b.type ? a.type > b.type : a.name < b.name;
  });
  return result;
}

/// Neighbours stay together; a shard is closed when it has its share of the bytes, or when the ones behind it need all
/// tensors that are left.
std::vector<tensor_list> cut(const layout& model, size_t shards) {
  std::vector<tensor_list> result(1);
  const auto share_bytes = model.size_bytes() / shards;
  uint64_t done_bytes = 0;
  for (size_t left = model.tensors.size(); left > 0; --left) {
    const bool has_share = done_bytes >= share_bytes * result.size();
    const bool needed_behind = left == shards - result.size();
    if (result.size() < shards && !result.back().empty() && (has_share || needed_behind))
      result.emplace_back();
    result.back().push_back(model.tensors[model.tensors.size() - left]);
    done_bytes += result.back().back().size_bytes();
  }
  return result;
}

/// Put together as text: the library's ordered objects look through all that they have for each name.
std::string header_text(const tensor_list& tensors) {
  std::string text = R"({"__metadata__":{"format":"pt"})";
  uint64_t begin_bytes = 0;
  for (const auto& tensor : tensors) {
    const auto end_bytes = begin_bytes + tensor.size_bytes();
    const ordered_json fields{
        {"dtype", name(tensor.type)}, {"shape", tensor.shape}, {"data_offsets", {begin_bytes, end_bytes}}};
    text += "," + ordered_json(tensor.name).dump() + ":" + fields.dump();
    begin_bytes = end_bytes;
  }
  text += "}";
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

/// The header behind its length, which is little-endian, as is every machine that this runs on.
std::string head_of(const tensor_list& tensors) {
  const auto header = header_text(tensors);
  const uint64_t header_bytes = header.size();
  return std::string(reinterpret_cast<const char*>(&header_bytes), sizeof header_bytes) + header;
}

/// Vectors that are called weights scale a signal (the norms' do), and a network blows up or dies when they are tiny.
weight_kind kind_of(const layout_tensor& tensor) {
  const std::string_view name = tensor.name;
  const bool scales = name.ends_with("weight") || name.ends_with("scale") || name.ends_with("gamma");
  return tensor.shape.size() == 1 && scales ? weight_kind::near_one : weight_kind::small;
}

expected<void> make_folder(const std::filesystem::path& folder) {
  std::error_code failed;
  if (!folder.empty())
    std::filesystem::create_directories(folder, failed);
  if (failed)
    return unexpected(
        error{.code = errc::io_failed, .what = "cannot make the folder", .path = folder, .os_error = failed.value()});
  return {};
}

/// Writes the files of one model, and counts its progress over all of them.
class model_writer {
public:
  model_writer(const checkpoint_options& options, uint64_t total_bytes)
      : options_(options), total_bytes_(total_bytes) {}

  expected<void> write(part_file& file, const tensor_list& tensors) {
    file.buffer().append(head_of(tensors));
    auto written = file.write_out();
    for (size_t i = 0; written && i < tensors.size(); ++i)
      written = write_tensor(file, tensors[i]);
    return written;
  }

private:
  expected<void> write_tensor(part_file& file, const layout_tensor& tensor) {
    const auto seed = XXH3_64bits_withSeed(tensor.name.data(), tensor.name.size(), options_.seed);
    weight_stream weights(tensor.type, kind_of(tensor), seed);
    for (uint64_t left_bytes = tensor.size_bytes(); left_bytes > 0;) {
      const auto block_bytes = std::min<uint64_t>(left_bytes, options_.block_bytes);
      file.buffer().resize(block_bytes);
      weights.fill(std::as_writable_bytes(std::span(file.buffer())));
      if (auto written = file.write_out(); !written)
        return written;
      left_bytes -= block_bytes;
      done_bytes_ += block_bytes;
      if (options_.progress && !options_.progress(done_bytes_, total_bytes_))
        return unexpected(error{.code = errc::cancelled, .what = "writing was stopped"});
    }
    return {};
  }

  const checkpoint_options& options_;
  uint64_t total_bytes_;
  uint64_t done_bytes_ = 0;
};

std::string shard_path(const std::string& path, size_t number, size_t count) {
  char ending[64];
  std::snprintf(ending, sizeof ending, "-%05zu-of-%05zu", number, count);
  return path.substr(0, path.size() - extension.size()) + ending + std::string(extension);
}

std::vector<std::string> paths_of(const std::string& path, size_t shards) {
  if (shards == 1)
    return {path};
  std::vector<std::string> paths;
  for (size_t i = 1; i <= shards; ++i)
    paths.push_back(shard_path(path, i, shards));
  paths.push_back(path + ".index.json");
  return paths;
}

std::string index_text(const std::vector<tensor_list>& shards, const std::vector<std::string>& paths,
                       uint64_t total_bytes) {
  ordered_json map = ordered_json::object();
  for (size_t i = 0; i < shards.size(); ++i)
    for (const auto& tensor : shards[i])
      map.push_back({tensor.name, std::filesystem::path(paths[i]).filename().string()});
  const ordered_json index{{"metadata", {{"total_size", total_bytes}}}, {"weight_map", std::move(map)}};
  return index.dump(2) + "\n";
}

expected<void> check_arguments(const layout& model, const std::string& path, const checkpoint_options& options) {
  std::string what;
  if (!path.ends_with(extension))
    what = "the file's name must end in .safetensors";
  else if (options.shards == 0 || options.shards > options.max_shards)
    what = "the number of shards must be 1 to " + std::to_string(options.max_shards);
  else if (options.shards > 1 && options.shards > model.tensors.size())
    what = "more shards than tensors";
  if (what.empty())
    return {};
  return unexpected(error{.code = errc::bad_argument, .what = std::move(what), .path = path});
}

/// All files are complete before the first gets its name; the index, which makes a set of shards a model, is the last.
expected<void> write_files(const made_checkpoint& made, const std::vector<tensor_list>& shards,
                           const checkpoint_options& options) {
  model_writer writer(options, made.tensor_bytes);
  std::deque<part_file> files;
  for (const auto& path : made.paths) {
    auto& file = files.emplace_back(path, options.block_bytes);
    const auto number = files.size() - 1;
    if (number == shards.size())
      file.buffer() = index_text(shards, made.paths, made.tensor_bytes);
    else if (auto written = writer.write(file, shards[number]); !written)
      return written;
  }
  for (auto& file : files)
    if (auto committed = file.commit(); !committed)
      return committed;
  return {};
}

}  // namespace

std::string checkpoint_head(const layout& model) { return head_of(in_file_order(model, {}).tensors); }

expected<made_checkpoint> make_checkpoint(const layout& model, const std::string& path,
                                          const checkpoint_options& options) {
  assert(options.block_bytes > 0 && options.block_bytes % 8 == 0);
  if (auto checked = check_arguments(model, path, options); !checked)
    return unexpected(checked.error());
  if (auto folder = make_folder(std::filesystem::path(path).parent_path()); !folder)
    return unexpected(folder.error());
  const auto sorted = in_file_order(model, options.float_type);
  const auto shards = cut(sorted, options.shards);
  made_checkpoint made{
      .paths = paths_of(path, shards.size()), .tensors = sorted.tensors.size(), .tensor_bytes = sorted.size_bytes()};
  if (auto written = write_files(made, shards, options); !written)
    return unexpected(written.error());
  return made;
}

}  // namespace longshore
