// One load for many requests, and whose turn it is when there are several loads.
#include <algorithm>
#include <set>

#include <sys/stat.h>

#include "tests/actors/actor_fixture.hpp"

namespace longshore {
namespace {

uint64_t inode_of(const std::string& path) { return identity_of(path).value().inode; }

/// Each byte of the file's data read exactly once, none twice.
void expect_read_once(virtual_disk& disk, const std::string& path) {
  uint64_t at = 0;
  bool first = true;
  for (const auto& [range, times] : disk.ranges_of(inode_of(path))) {
    EXPECT_EQ(times, 1);
    EXPECT_TRUE(first || range.first == at) << "a gap or an overlap at " << range.first;
    at = range.second;
    first = false;
  }
  EXPECT_EQ(at, fs::file_size(path));
}

TEST(load_once, sixty_four_requests_for_one_key_are_one_load) {
  model_files files;
  const auto path = files.write("m.safetensors", 100'000, 1);
  const auto request = files.request("m", {path});
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    actor_world world;
    std::vector<inquiry_ptr<model_answer>> asked;
    for (int i = 0; i < 64; ++i)
      asked.push_back(world.get(request));
    world.run_shuffled(seed);
    std::set<const held_file*> held;
    for (const auto& one : asked) {
      ASSERT_EQ(one->answers.size(), 1U);
      EXPECT_TRUE(files.holds_right_bytes(one->answers.front()));
      held.insert(one->answers.front().lease->model().files.at(0).get());
    }
    EXPECT_EQ(held.size(), 1U);
    expect_read_once(world.disk, path);
    asked.clear();
    world.stop_and_expect_empty();
  }
}

TEST(load_once, sixty_four_keys_of_one_file_are_one_load) {
  model_files files;
  const auto path = files.write("m.safetensors", 100'000, 1);
  fs::create_symlink(path, files.path("other-name.safetensors"));
  actor_world world{{.limit_bytes = arena_pool::granule_bytes}};
  std::vector<inquiry_ptr<model_answer>> asked;
  for (int i = 0; i < 64; ++i)
    asked.push_back(world.get(
        files.request("key " + std::to_string(i), {i % 2 == 0 ? path : files.path("other-name.safetensors")})));
  world.run_shuffled(7);
  for (const auto& one : asked) {
    ASSERT_EQ(one->answers.size(), 1U);
    EXPECT_TRUE(one->answers.front().lease) << to_text(one->answers.front().reason);
  }
  expect_read_once(world.disk, path);
  EXPECT_EQ(world.list().entries.size(), 64U);
}

TEST(load_once, a_hit_reads_nothing_and_says_so) {
  model_files files;
  const auto request = files.request("m", {files.write("m.safetensors", 50'000, 1)});
  actor_world world;
  EXPECT_FALSE(world.load(request).hit);
  const auto reads = world.disk.turns.size();
  const auto again = world.load(request);
  EXPECT_TRUE(again.hit);
  EXPECT_TRUE(files.holds_right_bytes(again));
  EXPECT_EQ(world.disk.turns.size(), reads);
}

TEST(load_once, a_text_encoder_of_two_files_holds_both_in_order) {
  model_files files;
  const auto l = files.write("clip_l.safetensors", 40'000, 1);
  const auto g = files.write("clip_g.safetensors", 60'000, 2);
  actor_world world;
  const auto answer = world.load(files.request("clip", {l, g}));
  ASSERT_TRUE(files.holds_right_bytes(answer));
  EXPECT_EQ(answer.lease->model().files.at(0)->path(), l);
  EXPECT_EQ(answer.lease->model().files.at(1)->path(), g);
  EXPECT_EQ(answer.lease->model().reports.at(1).buffered_bytes, fs::file_size(g));
}

/// Three loads of equal size with all their credits at the reader, before the disk gave anything.
class turns : public testing::Test {
protected:
  turns() {
    for (int i = 0; i < 3; ++i) {
      paths.push_back(files.write("m" + std::to_string(i), 200'000, static_cast<uint64_t>(i)));
      inodes.push_back(inode_of(paths.back()));
    }
  }

  inquiry_ptr<model_answer> ask(size_t which, bool urgent) {
    auto request = files.request("key " + std::to_string(which), {paths[which]});
    request.urgent = urgent;
    auto asked = world.get(request);
    world.run_messages();
    return asked;
  }

  /// How many of the reads from `begin` to `end` were of this file.
  long count(size_t which, size_t begin, size_t end) const {
    const auto from = world.disk.turns.begin();
    return std::count(from + static_cast<long>(begin), from + static_cast<long>(end), inodes[which]);
  }

  model_files files;
  std::vector<std::string> paths;
  std::vector<uint64_t> inodes;
  actor_world world{{.disk_depth = 1}};
};

TEST_F(turns, are_shared_fairly_between_loads) {
  const auto a = ask(0, true), b = ask(1, true), c = ask(2, true);
  world.run();
  ASSERT_EQ(world.disk.turns.size(), 39U);
  for (size_t begin = 3; begin + 6 <= 33; begin += 3)
    for (size_t which = 0; which < 3; ++which)
      EXPECT_EQ(count(which, begin, begin + 3), 1) << "in the three turns from " << begin;
  EXPECT_TRUE(files.holds_right_bytes(a->answers.at(0)));
}

TEST_F(turns, go_to_who_waits_before_a_prefetch) {
  const auto prefetch = ask(0, false), awaited = ask(1, true);
  world.run();
  EXPECT_EQ(count(1, 1, 14), 13) << "after the one read that was under way";
  EXPECT_TRUE(prefetch->answered());
}

TEST_F(turns, are_taken_over_by_a_prefetch_that_someone_waits_for_now) {
  const auto first = ask(0, false), second = ask(1, false);
  const auto awaited = ask(1, true);
  world.run();
  EXPECT_EQ(count(1, 1, 14), 13);
  EXPECT_EQ(second->answers.at(0).lease->model().files, awaited->answers.at(0).lease->model().files);
  EXPECT_TRUE(first->answered());
}

}  // namespace
}  // namespace longshore
