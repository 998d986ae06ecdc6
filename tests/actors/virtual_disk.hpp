#pragma once
/// A disk whose reads complete when the test says so, one at a time, in any order: real bytes of real files, or faults
/// from a script.
///
/// Owns the requests in flight and the counts. One thread, that of the test. The engine's promises are checked from the
/// other side: never more in flight than its depth, no tag twice, direct reads aligned. A broken one fails the test.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "io/faulty_engine.hpp"
#include "io/read_engine.hpp"

namespace longshore {

class virtual_disk {
public:
  explicit virtual_disk(size_t depth = 3) : depth_(depth) {}

  /// Asked at each submit; nothing goes wrong without it.
  fault_script script = {};

  /// The number of the file of each request, in the order of submission: whose turn it was.
  std::vector<uint64_t> turns;

  size_t in_flight() const { return requests_.size(); }
  bool engine_alive() const { return alive_; }

  /// How often each byte of the file was read, as [offset, end) ranges in order; complete reads only.
  const std::map<std::pair<uint64_t, uint64_t>, int>& ranges_of(uint64_t inode) { return ranges_[inode]; }

  /// Performs one of the requests in flight and reports it.
  void complete(size_t index) {
    ASSERT_LT(index, requests_.size());
    auto chosen = std::move(requests_[index]);
    requests_.erase(requests_.begin() + static_cast<std::ptrdiff_t>(index));
    tags_.erase(chosen.request.tag);
    on_complete_({chosen.request.tag, perform(chosen)});
  }

  /// What a caster gets that reads a file itself, at once: it takes that for cached.
  int64_t read_cached(int fd, std::byte* destination, uint64_t length_bytes, uint64_t offset_bytes) {
    const read_request request{0, fd, offset_bytes, destination, length_bytes, read_path::buffered};
    return perform({request, script ? script(request, number_++) : fault{no_fault{}}});
  }

  /// The reader's end of this disk. One at a time; the disk outlives it.
  std::unique_ptr<read_engine> make_engine(completion_callback on_complete) {
    on_complete_ = std::move(on_complete);
    alive_ = true;
    return std::make_unique<engine>(*this);
  }

private:
  struct scripted_request {
    read_request request;
    fault what;
  };

  class engine final : public read_engine {
  public:
    explicit engine(virtual_disk& disk) : disk_(disk) {}
    ~engine() override {
      while (disk_.in_flight() > 0)
        disk_.complete(0);
      disk_.alive_ = false;
    }
    void submit(const read_request& request) override { disk_.submit(request); }
    size_t depth() const override { return disk_.depth_; }
    std::string_view name() const override { return "virtual"; }

  private:
    virtual_disk& disk_;
  };

  static uint64_t inode_of(int fd) {
    struct stat s = {};
    EXPECT_EQ(::fstat(fd, &s), 0) << "the descriptor was closed before its read";
    return s.st_ino;
  }

  void submit(const read_request& request) {
    EXPECT_LT(requests_.size(), depth_);
    EXPECT_TRUE(tags_.insert(request.tag).second) << "two reads with one tag";
    EXPECT_GT(request.length_bytes, 0U);
    if (request.path == read_path::direct) {
      EXPECT_EQ(request.offset_bytes % 4096, 0U);
      EXPECT_EQ(request.length_bytes % 4096, 0U);
    }
    turns.push_back(inode_of(request.fd));
    requests_.push_back({request, script ? script(request, number_++) : fault{no_fault{}}});
  }

  int64_t perform(const scripted_request& chosen) {
    if (const auto* failing = std::get_if<failing_read>(&chosen.what))
      return -failing->os_error;
    if (const auto* hook = std::get_if<called_back>(&chosen.what))
      hook->before();
    auto request = chosen.request;
    if (const auto* shorter = std::get_if<short_read>(&chosen.what))
      request.length_bytes = std::min(request.length_bytes, shorter->length_bytes);
    const auto inode = inode_of(request.fd);
    const auto result = request.length_bytes == 0 ? 0 : read_now(request);
    if (result > 0)
      ++ranges_[inode][{request.offset_bytes, request.offset_bytes + static_cast<uint64_t>(result)}];
    return result;
  }

  size_t depth_;
  bool alive_ = false;
  uint64_t number_ = 0;
  completion_callback on_complete_;
  std::vector<scripted_request> requests_;
  std::set<uint64_t> tags_;
  std::map<uint64_t, std::map<std::pair<uint64_t, uint64_t>, int>> ranges_;
};

}  // namespace longshore
