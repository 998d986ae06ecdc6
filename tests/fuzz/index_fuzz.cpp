// Fuzzes the shard index, and checks an index that parses against files that hold just what it says.
#include <set>

#include "fuzz_check.hpp"
#include "io/relative_name.hpp"
#include "io/shard_index.hpp"

using namespace longshore;

namespace {

const std::string path = "fuzz.safetensors.index.json";

void check_index(const shard_index& index) {
  FUZZ_CHECK(!index.weight_map.empty());
  FUZZ_CHECK(std::set(index.files.begin(), index.files.end()).size() == index.files.size());
  for (const auto& file : index.files)
    FUZZ_CHECK(relative_name_flaw(file).empty());
  std::vector<std::vector<std::string_view>> names(index.files.size());
  std::set<std::string_view> distinct;
  for (const auto& [name, file] : index.weight_map) {
    FUZZ_CHECK(file < index.files.size());
    FUZZ_CHECK(distinct.insert(name).second);
    names[file].push_back(name);
  }
  for (const auto& held : names)
    FUZZ_CHECK(!held.empty());
  FUZZ_CHECK(check_shards(index, path, names).has_value());
  names.front().pop_back();
  FUZZ_CHECK(!check_shards(index, path, names));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto index = parse_shard_index({reinterpret_cast<const char*>(data), size}, path);
  if (index)
    check_index(*index);
  else
    FUZZ_CHECK(index.error().code == errc::bad_format && !index.error().what.empty());
  return 0;
}
