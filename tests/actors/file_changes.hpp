#pragma once
/// What others do to a file while it loads.
///
/// Owns nothing. Fails by an exception, which fails the test.

#include <filesystem>
#include <string>

#include "tests/actors/model_files.hpp"
#include "tests/io/test_files.hpp"

namespace longshore {

struct change_of_a_file {
  const char* name;
  void (*make)(const std::string& path, const byte_vector& newer);
};

inline const change_of_a_file changes_of_a_file[] = {
    {"truncated", [](const std::string& path, const byte_vector&) { fs::resize_file(path, 50'000); }},
    {"replaced",
     [](const std::string& path, const byte_vector& newer) {
       write_file(path + ".new", newer);
       fs::rename(path + ".new", path);
     }},
    {"rewritten",
     [](const std::string& path, const byte_vector& newer) {
       write_file(path, newer);
       move_mtime(path, 1);
     }},
    {"removed", [](const std::string& path, const byte_vector&) { fs::remove(path); }},
};

}  // namespace longshore
