#include "io/model_source.hpp"

#include <algorithm>
#include <filesystem>

#include "io/model_file.hpp"
#include "io/open_model.hpp"
#include "io/page_cache.hpp"

namespace longshore {
namespace {

hold_mode choose_hold(const model_file& file, const source_options& options) {
  switch (options.hold) {
    case hold_choice::owned:
      return hold_mode::owned;
    case hold_choice::pinned:
      return hold_mode::pinned;
    case hold_choice::mapped:
      return hold_mode::mapped;
    case hold_choice::device:
      return hold_mode::device;
    case hold_choice::automatic:
      break;
  }
  const auto cached = estimated_resident_bytes(file.fd(), 0, file.size_bytes()).value_or(0);
  const auto is_hot = static_cast<double>(cached) > options.hot_share * static_cast<double>(file.size_bytes());
  return is_hot ? hold_mode::mapped : hold_mode::owned;
}

/// Memory that is cast to is memory of its own. Where every float tensor has the type already, there is nothing to
/// cast.
expected<void> choose_cast(file_source& source, const model_file& file, const source_options& options) {
  if (options.cast_to.empty() || source.hold == hold_mode::device)
    return {};
  const auto to = cast_target(options.cast_to);
  if (!to)
    return tl::unexpected(to.error());
  const auto header = read_header(file);
  if (!header)
    return tl::unexpected(header.error());
  const bool changes = std::any_of(header->tensors.begin(), header->tensors.end(),
                                   [&](const tensor_info& t) { return is_castable(t.type) && t.type != *to; });
  if (!changes) {
    source.cast_to.clear();
    return {};
  }
  if (options.hold == hold_choice::mapped)
    return unexpected(error{
        .code = errc::bad_argument,
        .what = "weights that are cast to " + options.cast_to + " cannot be mapped: they need memory of their own",
        .path = source.path});
  if (source.hold == hold_mode::mapped)
    source.hold = hold_mode::owned;
  return {};
}

expected<void> add_file(model_source& source, const std::string& path, const source_options& options) {
  const auto file = model_file::open(path);  // also refuses folders and FIFOs before anything waits for them
  if (!file)
    return unexpected(file.error());
  source.files.push_back({.path = path,
                          .identity = file->identity(),
                          .hold = choose_hold(*file, options),
                          .any_hold = options.hold == hold_choice::automatic,
                          .host_copy = options.host_copy,
                          .cast_to = options.cast_to});
  return choose_cast(source.files.back(), *file, options);
}

expected<model_source> find_shards(const std::string& path, const source_options& options) {
  const auto file = model_file::open(path);
  if (!file)
    return unexpected(file.error());
  if (file->size_bytes() > index_limits{}.max_index_bytes)
    return unexpected(error{.code = errc::bad_format, .what = "the file is too large for a shard index", .path = path});
  std::string json(file->size_bytes(), '\0');
  if (auto read = file->read_at(std::as_writable_bytes(std::span{json}), 0); !read)
    return unexpected(read.error());
  auto index = parse_shard_index(json, path);
  if (!index)
    return unexpected(index.error());
  model_source source;
  source.index_path = path;
  source.layout_tag =
      "index " + std::to_string(file->identity().inode) + " " + std::to_string(file->identity().ctime_ns);
  const auto folder = std::filesystem::path(path).parent_path();
  for (const auto& name : index->files)
    if (auto added = add_file(source, (folder / name).string(), options); !added)
      return unexpected(added.error());
  source.index = std::make_shared<const shard_index>(std::move(*index));
  return source;
}

}  // namespace

bool is_shard_index(const std::string& path) { return path.ends_with(".index.json"); }

expected<dtype> cast_target(const std::string& name) {
  const auto type = dtype_from_name(name);
  if (type && is_castable(*type))
    return *type;
  return unexpected(error{.code = errc::bad_argument,
                          .what = "weights can be cast to F32, F16, BF16, F8_E4M3 or F8_E5M2, not to " + name});
}

expected<model_source> find_source(const std::vector<std::string>& paths, source_options options) {
  if (paths.empty())
    return unexpected(error{.code = errc::bad_argument, .what = "a model needs at least one file"});
  if (options.host_copy && options.hold != hold_choice::device)
    return unexpected(error{.code = errc::bad_argument, .what = "a host copy is made only of what goes to a device"});
  if (paths.size() == 1 && is_shard_index(paths.front()))
    return find_shards(paths.front(), options);
  model_source source;
  for (const auto& path : paths) {
    if (is_shard_index(path))
      return unexpected(error{.code = errc::bad_argument,
                              .what = "a shard index is a whole model and goes with no other file",
                              .path = path});
    if (auto added = add_file(source, path, options); !added)
      return unexpected(added.error());
  }
  return source;
}

}  // namespace longshore
