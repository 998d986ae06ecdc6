#pragma once
/// What the tests of made-up models share: a folder of their own, and a reader of .safetensors files that owes nothing
/// to the one in io/.
///
/// Limits: small files, read whole. Fails by a failing expectation, or by nlohmann's exceptions, which fail the test.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace longshore {

namespace fs = std::filesystem;
using nlohmann::json;

/// An empty folder of the test's own, gone after it.
class scratch {
public:
  scratch() {
    std::string name = fs::temp_directory_path() / "longshore-XXXXXX";
    path_ = ::mkdtemp(name.data());
  }
  ~scratch() { fs::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ / name; }

  std::set<std::string> files() const {
    std::set<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(path_))
      if (entry.is_regular_file())
        names.insert(fs::relative(entry.path(), path_));
    return names;
  }

private:
  fs::path path_;
};

inline std::string read_all(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct file_as_read {
  json header;
  std::string data;
  uint64_t header_bytes = 0;

  std::string bytes_of(const std::string& name) const {
    const auto offsets = header[name]["data_offsets"];
    return data.substr(offsets[0], offsets[1].get<size_t>() - offsets[0].get<size_t>());
  }

  template <class Element>
  std::vector<Element> elements_of(const std::string& name) const {
    const auto bytes = bytes_of(name);
    std::vector<Element> elements(bytes.size() / sizeof(Element));
    std::memcpy(elements.data(), bytes.data(), bytes.size());
    return elements;
  }
};

inline file_as_read read_back(const std::string& path) {
  const auto all = read_all(path);
  file_as_read file;
  std::memcpy(&file.header_bytes, all.data(), sizeof file.header_bytes);
  file.header = json::parse(all.substr(8, file.header_bytes));
  file.data = all.substr(8 + file.header_bytes);
  return file;
}

/// Names by their place in the data, after a check that the tensors touch and fill it.
inline std::vector<std::string> names_in_order(const file_as_read& file) {
  std::vector<std::tuple<uint64_t, uint64_t, std::string>> ranges;
  for (const auto& [name, tensor] : file.header.items())
    if (name != "__metadata__")
      ranges.emplace_back(tensor["data_offsets"][0], tensor["data_offsets"][1], name);
  std::ranges::sort(ranges);
  std::vector<std::string> names;
  uint64_t at = 0;
  for (const auto& [begin, end, name] : ranges) {
    EXPECT_EQ(begin, at) << name;
    at = end;
    names.push_back(name);
  }
  EXPECT_EQ(at, file.data.size());
  return names;
}

}  // namespace longshore
