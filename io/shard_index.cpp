#include "io/shard_index.hpp"

#include <algorithm>
#include <cassert>
#include <map>

#include "io/json_events.hpp"
#include "io/relative_name.hpp"
#include "io/repeated_name.hpp"

namespace longshore {
namespace {

enum class slot : uint8_t { root, weight_map, file_name, metadata, total_size, unknown };

std::string_view wanted(slot place) {
  switch (place) {
    case slot::root:
      return "the index must be an object with weight_map";
    case slot::weight_map:
      return "weight_map must be an object of file names by tensor name";
    case slot::file_name:
      return "a tensor's file must be a string";
    case slot::metadata:
      return "metadata must be an object";
    case slot::total_size:
      return "total_size must be a whole number of bytes";
    case slot::unknown:
      break;
  }
  return "";
}

class index_reader : public json_events<index_reader> {
public:
  index_reader(const json_source& source, size_t max_files) : json_events(source), max_files_(max_files) {}

  shard_index take() { return std::move(index_); }
  bool has_weight_map() const { return seen_weight_map_; }

  bool scalar(const json_scalar& value) {
    if (skipped_depth_ > 0 || next_ == slot::unknown)
      return true;
    if (next_ == slot::file_name && value.kind == json_kind::text)
      return add_file(value.text);
    if (next_ == slot::total_size && value.kind == json_kind::whole_number) {
      index_.total_size_bytes = value.whole;
      return true;
    }
    return wrong(value.kind);
  }

  bool open(json_kind kind) {
    if (skipped_depth_ > 0 || next_ == slot::unknown) {
      ++skipped_depth_;
      return true;
    }
    const auto may_open = next_ == slot::root || next_ == slot::weight_map || next_ == slot::metadata;
    if (!may_open || kind != json_kind::object)
      return wrong(kind);
    inside_ = next_;
    return true;
  }

  bool close() {
    if (skipped_depth_ > 0)
      --skipped_depth_;
    else
      inside_ = slot::root;
    return true;
  }

  bool field(std::string_view name) {
    if (skipped_depth_ > 0)
      return true;
    if (inside_ == slot::weight_map)
      return add_tensor(name);
    if (inside_ == slot::metadata) {
      next_ = name == "total_size" ? slot::total_size : slot::unknown;
      return next_ == slot::unknown || once(seen_total_size_);
    }
    next_ = name == "weight_map" ? slot::weight_map : name == "metadata" ? slot::metadata : slot::unknown;
    return next_ == slot::unknown || once(next_ == slot::metadata ? seen_metadata_ : seen_weight_map_);
  }

private:
  std::string pointer() const {
    switch (next_) {
      case slot::weight_map:
        return "/weight_map";
      case slot::file_name:
        return "/weight_map" + pointer_step(index_.weight_map.back().first);
      case slot::metadata:
        return "/metadata";
      case slot::total_size:
        return "/metadata/total_size";
      default:
        return "";
    }
  }

  bool wrong(json_kind found) {
    return fail(std::string(wanted(next_)) + ", found " + std::string(name(found)), pointer());
  }

  bool once(bool& seen) { return !std::exchange(seen, true) || fail("the field stands twice", pointer()); }

  bool add_tensor(std::string_view name) {
    index_.weight_map.emplace_back(std::string(name), 0);
    next_ = slot::file_name;
    return name.find('\0') == std::string_view::npos || fail("a tensor name may not hold a NUL character", pointer());
  }

  bool add_file(std::string_view name) {
    if (const auto flaw = relative_name_flaw(name); !flaw.empty())
      return fail("the file name " + std::string(flaw) + "; shards lie in the folder of their index", pointer());
    auto known = file_positions_.find(name);
    if (known == file_positions_.end()) {
      if (index_.files.size() == max_files_)
        return fail("more than " + std::to_string(max_files_) + " different files", pointer());
      known = file_positions_.emplace(std::string(name), static_cast<uint32_t>(index_.files.size())).first;
      index_.files.emplace_back(name);
    }
    index_.weight_map.back().second = known->second;
    return true;
  }

  shard_index index_;
  std::map<std::string, uint32_t, std::less<>> file_positions_;
  size_t max_files_;
  slot inside_ = slot::root;
  slot next_ = slot::root;
  unsigned skipped_depth_ = 0;  // open containers within the value of an unknown field
  bool seen_weight_map_ = false;
  bool seen_metadata_ = false;
  bool seen_total_size_ = false;
};

unexpected fault(const std::string& path, std::string what, std::string where) {
  return unexpected(error{.code = errc::bad_format, .what = std::move(what), .path = path, .where = std::move(where)});
}

std::optional<size_t> repeated_tensor(const shard_index& index) {
  std::vector<std::string_view> names;
  names.reserve(index.weight_map.size());
  for (const auto& [name, file] : index.weight_map)
    names.push_back(name);
  return repeated_name(names);
}

/// The map by name, and for each tensor the file it was found in.
class shard_ledger {
public:
  static constexpr size_t nowhere = SIZE_MAX;

  explicit shard_ledger(const shard_index& index) : found_in_(index.weight_map.size(), nowhere) {
    by_name_.reserve(index.weight_map.size());
    for (size_t i = 0; i < index.weight_map.size(); ++i)
      by_name_.emplace_back(index.weight_map[i].first, i);
    std::sort(by_name_.begin(), by_name_.end());
  }

  /// Where the file of a tensor is kept; null when the map lacks the name.
  size_t* find(std::string_view name) {
    const auto at = std::lower_bound(by_name_.begin(), by_name_.end(), std::pair(name, size_t{0}));
    return at != by_name_.end() && at->first == name ? &found_in_[at->second] : nullptr;
  }

  size_t file_of(size_t entry) const { return found_in_[entry]; }

private:
  std::vector<std::pair<std::string_view, size_t>> by_name_;
  std::vector<size_t> found_in_;
};

}  // namespace

expected<shard_index> parse_shard_index(std::string_view json, const std::string& path, index_limits limits) {
  if (json.size() > limits.max_index_bytes)
    return fault(path,
                 "the index has " + std::to_string(json.size()) + " bytes, more than the " +
                     std::to_string(limits.max_index_bytes) + " allowed",
                 "");
  index_reader reader({.text = json, .path = path, .max_depth = limits.max_depth}, limits.max_files);
  if (auto done = reader.run(); !done)
    return unexpected(std::move(done.error()));
  if (!reader.has_weight_map())
    return fault(path, "the index has no weight_map, an object of file names by tensor name", "/weight_map");
  auto index = reader.take();
  if (index.weight_map.empty())
    return fault(path, "weight_map names no tensor", "/weight_map");
  if (const auto repeated = repeated_tensor(index))
    return fault(path, "the tensor stands twice in weight_map",
                 "/weight_map" + pointer_step(index.weight_map[*repeated].first));
  return index;
}

expected<void> check_shards(const shard_index& index, const std::string& index_path,
                            std::span<const std::vector<std::string_view>> names_by_file) {
  assert(names_by_file.size() == index.files.size());
  shard_ledger ledger(index);
  for (size_t file = 0; file < names_by_file.size(); ++file) {
    for (auto name : names_by_file[file]) {
      auto* found_in = ledger.find(name);
      if (found_in == nullptr)
        return fault(index_path, index.files[file] + " holds a tensor that the index does not name", std::string(name));
      if (*found_in != shard_ledger::nowhere)
        return fault(index_path, "the tensor is in two files, " + index.files[*found_in] + " and " + index.files[file],
                     std::string(name));
      *found_in = file;
    }
  }
  for (size_t entry = 0; entry < index.weight_map.size(); ++entry) {
    const auto& [name, file] = index.weight_map[entry];
    const auto found_in = ledger.file_of(entry);
    if (found_in == shard_ledger::nowhere)
      return fault(index_path, index.files[file] + " lacks a tensor that the index says it holds", name);
    if (found_in != file)
      return fault(index_path,
                   "the index says " + index.files[file] + ", but the tensor is in " + index.files[found_in], name);
  }
  return {};
}

}  // namespace longshore
