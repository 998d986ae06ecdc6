#pragma once
/// Short ways to drive a registry by hand, shared by the tests of its rules. One thread; owns one registry a test.

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "cache/registry.hpp"

namespace longshore {

inline file_source source(uint64_t inode, hold_mode hold = hold_mode::owned) {
  return {"/models/" + std::to_string(inode), {.inode = inode, .size_bytes = 10}, hold};
}

template <class T>
std::vector<T> pick(const actions& all) {
  std::vector<T> found;
  for (const auto& one : all)
    if (const auto* wanted = std::get_if<T>(&one))
      found.push_back(*wanted);
  return found;
}

template <class T>
std::vector<file_id> files_of(const actions& all) {
  std::vector<file_id> files;
  for (const auto& one : pick<T>(all))
    files.push_back(one.file);
  return files;
}

/// A registry with room for 100 bytes, and short ways to make requests of it.
class registry_rules : public testing::Test {
protected:
  static get_request request(const std::string& key, std::vector<file_source> files, cache_mode mode = {}) {
    static ticket_id next = 1000;
    return {.ticket = next++, .key = key, .kind = model_kind::ckpt, .mode = mode, .files = std::move(files)};
  }
  static get_request look_up(const std::string& key) { return request(key, {}, cache_mode::read_only); }

  actions bring_in(file_id file, uint64_t bytes) {
    auto all = cache.file_opened(file, bytes);
    auto more = cache.file_ready(file);
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  /// Loads a one-file model to the end, and returns its answer; the lease stays out.
  complete load(const std::string& key, uint64_t inode, uint64_t bytes, bool keep = false) {
    auto wanted = request(key, {source(inode)});
    wanted.keep = keep;
    auto started = files_of<start_load>(cache.get(wanted));
    auto answers = pick<complete>(bring_in(started.at(0), bytes));
    return answers.at(0);
  }

  /// The same, with the lease given back.
  file_id load_idle(const std::string& key, uint64_t inode, uint64_t bytes, bool keep = false) {
    auto answer = load(key, inode, bytes, keep);
    cache.lease_returned(answer.lease);
    return answer.files.at(0);
  }

  file_id start(const get_request& wanted) { return files_of<start_load>(cache.get(wanted)).at(0); }

  std::vector<std::string> keys() const {
    std::vector<std::string> all;
    for (const auto& e : cache.list())
      all.push_back(e.key);
    return all;
  }

  registry_limits limits{.host_limit_bytes = 100};
  registry cache{limits};
};

}  // namespace longshore
