// The whole stack on a file system that lies (tests/fault_fs): exact bytes, or the error that says what happened.
#include <gtest/gtest.h>

#include <cerrno>
#include <optional>

#include "actors/runtime.hpp"
#include "io/digest_file.hpp"
#include "io/model_source.hpp"
#include "io/open_model.hpp"
#include "tests/faults/child_process.hpp"
#include "tests/io/test_files.hpp"

using namespace longshore;

namespace {

constexpr uint64_t chunk_bytes = 4 << 20;
constexpr uint64_t fault_bytes = 5 << 20;  // where a file's fault is: inside its second chunk

/// One model under many names, each of which asks the file system for its fault.
class fuse_faults : public testing::TestWithParam<std::tuple<engine_kind, page_cache_mode>> {
protected:
  fuse_faults() {
    fs::create_directory(folder / "mount");
    fs::create_directory(folder / "source");
    write_file(folder / "source/model", content);
    server.emplace(std::vector<std::string>{LONGSHORE_FAULT_FS, folder / "source", folder / "mount", "1"});
  }
  ~fuse_faults() override {
    loader.reset();
    server->terminate();
    server->wait();
  }

  void SetUp() override {
    ASSERT_EQ(server->read_some(), "x")
        << "no FUSE file system can be mounted here: /dev/fuse and fusermount3 (package fuse3), or "
           "root, are needed. Set LONGSHORE_NO_FUSE=1 to build without these tests";
    runtime_options options{.host_limit_bytes = 256 << 20};
    options.engine.kind = std::get<engine_kind>(GetParam());
    options.holder.page_cache = std::get<page_cache_mode>(GetParam());
    options.holder.chunk_bytes = chunk_bytes;
    auto started = runtime::start(options);
    ASSERT_TRUE(started) << to_text(started.error());
    loader = std::move(*started);
  }

  std::string mounted(const std::string& name) const {
    fs::create_hard_link(folder / "source/model", folder / ("source/" + name));
    return folder / ("mount/" + name);
  }

  expected<model_answer> load(const std::string& path, hold_choice hold = hold_choice::owned) {
    auto source = find_source({path}, {.hold = hold});
    if (!source)
      return tl::unexpected(source.error());
    return loader->load({.key = path, .kind = model_kind::data, .source = std::move(*source)});
  }

  void expect_content(const expected<model_answer>& answer) const {
    ASSERT_TRUE(answer) << to_text(answer.error());
    const auto& held = *answer->lease->model().files.at(0);
    auto at = content.data() + held.header().data_begin_bytes;
    for (const auto& tensor : held.tensors()) {
      const auto bytes = held.bytes_of(tensor);
      EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), at)) << tensor.name;
      at += bytes.size();
    }
    EXPECT_EQ(at, content.data() + content.size());
  }

  void expect_error(const expected<model_answer>& answer, errc code, const std::string& path) const {
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, code) << to_text(answer.error());
    EXPECT_EQ(answer.error().path, path);
    const auto list = loader->list();
    ASSERT_TRUE(list);
    EXPECT_TRUE(list->entries.empty()) << "something half loaded can be seen";
    EXPECT_EQ(list->used_bytes, 0u);
  }

  test_folder folder;
  byte_vector content = made_model({{"first", 3 << 20}, {"second", (6 << 20) + 12'345}, {"third", 777}});
  std::optional<child_process> server;
  std::unique_ptr<runtime> loader;
};

INSTANTIATE_TEST_SUITE_P(engines, fuse_faults,
                         testing::Combine(testing::Values(engine_kind::io_uring, engine_kind::threads),
                                          testing::Values(page_cache_mode::direct, page_cache_mode::buffered)),
                         [](const auto& test) {
                           return std::string{name(std::get<0>(test.param))} + "_" +
                                  std::string{name(std::get<1>(test.param))};
                         });

TEST_P(fuse_faults, a_file_without_a_fault_loads) {
  const auto answer = load(folder / "mount/model");
  expect_content(answer);
  const auto& report = answer->lease->model().reports.at(0);
  const auto is_direct = std::get<page_cache_mode>(GetParam()) == page_cache_mode::direct;
  EXPECT_EQ(is_direct ? report.direct_bytes : report.buffered_bytes, content.size());
}

TEST_P(fuse_faults, a_mapped_file_loads) { expect_content(load(folder / "mount/model", hold_choice::mapped)); }

TEST_P(fuse_faults, short_reads_are_continued) { expect_content(load(mounted("short-model"))); }

TEST_P(fuse_faults, reads_that_are_busy_are_tried_again) { expect_content(load(mounted("busy-model"))); }

TEST_P(fuse_faults, a_read_error_says_where) {
  const auto path = mounted("eio-at-" + std::to_string(fault_bytes) + "-model");
  const auto answer = load(path);
  expect_error(answer, errc::io_failed, path);
  EXPECT_EQ(answer.error().os_error, EIO);
  // The bad block itself, or the begin of its chunk, where the kernel made one error of a read sent in parts.
  EXPECT_LE(answer.error().offset_bytes.value_or(~uint64_t{0}), fault_bytes);
  EXPECT_GE(answer.error().offset_bytes.value_or(0), fault_bytes / chunk_bytes * chunk_bytes);
}

TEST_P(fuse_faults, a_header_that_cannot_be_read_says_so) {
  const auto path = mounted("eio-at-8-model");
  const auto answer = load(path);
  expect_error(answer, errc::io_failed, path);
  EXPECT_EQ(answer.error().os_error, EIO);
  EXPECT_EQ(answer.error().offset_bytes, 8u);
}

TEST_P(fuse_faults, a_read_error_under_a_mapping_fails_the_load) {
  const auto path = mounted("eio-at-" + std::to_string(fault_bytes) + "-model");
  expect_error(load(path, hold_choice::mapped), errc::io_failed, path);
}

TEST_P(fuse_faults, a_file_that_shrinks_while_it_loads_has_changed) {
  const auto path = mounted("shrinks-at-" + std::to_string(fault_bytes) + "-model");
  expect_error(load(path), errc::changed_on_disk, path);
}

TEST_P(fuse_faults, a_file_that_ends_before_its_size_has_changed) {
  const auto path = mounted("ends-at-" + std::to_string(fault_bytes + 100) + "-model");
  const auto answer = load(path);
  expect_error(answer, errc::changed_on_disk, path);
  EXPECT_GE(answer.error().offset_bytes.value_or(0), fault_bytes);
}

TEST_P(fuse_faults, a_file_system_without_direct_reads_is_read_through_the_page_cache) {
  const auto answer = load(mounted("no-direct-model"));
  expect_content(answer);
  EXPECT_EQ(answer->lease->model().reports.at(0).buffered_bytes, content.size());
}

TEST_P(fuse_faults, a_failure_leaves_the_next_load_alone) {
  ASSERT_FALSE(load(mounted("eio-at-" + std::to_string(fault_bytes) + "-model")));
  expect_content(load(folder / "mount/model"));
}

// Bytes that a disk changes without a word look like any others: what tells are the digests of `longshore verify`.
TEST_P(fuse_faults, flipped_bytes_show_in_the_digests) {
  const auto truth = model_file::open(folder / "source/model");
  const auto header = read_header(*truth);
  ASSERT_TRUE(header) << to_text(header.error());
  const auto lie = model_file::open(mounted("flips-model"));
  ASSERT_TRUE(lie) << to_text(lie.error());
  const auto told = digest_file(*lie, *header), written = digest_file(*truth, *header);
  ASSERT_TRUE(told) << to_text(told.error());
  EXPECT_NE(*told, *written);
}

}  // namespace
