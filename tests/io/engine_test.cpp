// Both engines keep the same promises: every test here runs on io_uring and on threads, with real files.
#include <cerrno>
#include <future>
#include <memory>
#include <random>

#include <gtest/gtest.h>

#include "io/read_engine.hpp"
#include "tests/io/completions.hpp"
#include "tests/io/test_files.hpp"

using namespace longshore;

namespace {

constexpr size_t file_bytes = (3 << 20) + 1234;  // ends inside a block
constexpr size_t block_bytes = 4096;

class engine_on : public testing::TestWithParam<engine_kind> {
protected:
  engine_on() {
    write_file(path, content);
    auto made = make_read_engine({.kind = GetParam(), .depth = 8}, done.callback());
    if (!made)
      throw std::runtime_error(to_text(made.error()));
    engine = std::move(*made);
  }

  int64_t read(int fd, uint64_t offset, std::byte* destination, uint64_t length, read_path path_taken) {
    engine->submit({.tag = 7,
                    .fd = fd,
                    .offset_bytes = offset,
                    .destination = destination,
                    .length_bytes = length,
                    .path = path_taken});
    const auto completion = done.next();
    EXPECT_EQ(completion.tag, 7u);
    return completion.result;
  }

  void expect_bytes(const page_memory& memory, uint64_t offset, size_t count) {
    EXPECT_TRUE(same_bytes(memory.first(count), std::span{content}.subspan(offset, count))) << offset;
  }

  test_folder folder;
  std::string path = folder / "bytes";
  inline static const byte_vector content = made_bytes(file_bytes, 1);  // made once: slow under the sanitizers
  completions done;
  std::unique_ptr<read_engine> engine;
};

INSTANTIATE_TEST_SUITE_P(engines, engine_on, testing::Values(engine_kind::io_uring, engine_kind::threads),
                         [](const auto& engine) { return std::string{name(engine.param)}; });

TEST_P(engine_on, says_what_it_is) {
  EXPECT_EQ(engine->depth(), 8u);
  EXPECT_EQ(engine->name(), name(GetParam()));
}

TEST_P(engine_on, needs_a_depth) {
  const auto none = make_read_engine({.kind = GetParam(), .depth = 0}, done.callback());
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, errc::bad_argument);
}

TEST_P(engine_on, reads_the_exact_bytes_at_odd_offsets_and_lengths) {
  const test_fd file{path};
  const page_memory memory{file_bytes};
  for (const auto& [offset, length] : std::vector<std::pair<size_t, size_t>>{
           {0, 1}, {1, 1}, {4095, 2}, {4097, 65537}, {123457, 1 << 20}, {0, file_bytes}, {file_bytes - 1, 1}}) {
    EXPECT_EQ(read(file, offset, memory.data(), length, read_path::buffered), static_cast<int64_t>(length));
    expect_bytes(memory, offset, length);
  }
}

TEST_P(engine_on, reads_directly_what_is_aligned) {
  make_cold(path);
  const test_fd file{path, O_RDONLY | O_DIRECT};
  const page_memory memory{file_bytes};
  for (const size_t offset : {size_t{0}, block_bytes, 255 * block_bytes}) {
    EXPECT_EQ(read(file, offset, memory.data(), 1 << 20, read_path::direct), 1 << 20);
    expect_bytes(memory, offset, 1 << 20);
  }
}

TEST_P(engine_on, a_direct_read_that_is_rounded_past_the_end_gives_what_there_is) {
  const test_fd file{path, O_RDONLY | O_DIRECT};
  const page_memory memory{4 * block_bytes};
  const size_t offset = (file_bytes / block_bytes - 1) * block_bytes;
  const size_t left = file_bytes - offset;
  EXPECT_EQ(read(file, offset, memory.data(), 4 * block_bytes, read_path::direct), static_cast<int64_t>(left));
  expect_bytes(memory, offset, left);
}

TEST_P(engine_on, populates_a_mapping) {
  make_cold(path);
  const test_fd file{path};
  const page_memory mapped{file_bytes, file};
  EXPECT_EQ(read(file, 0, mapped.data(), file_bytes, read_path::populate), static_cast<int64_t>(file_bytes));
  EXPECT_EQ(pages_in_memory(mapped.data(), file_bytes), (file_bytes + block_bytes - 1) / block_bytes);
  expect_bytes(mapped, 0, file_bytes);
}

TEST_P(engine_on, hands_up_a_read_past_the_end_as_short) {
  const test_fd file{path};
  const page_memory memory{2 * block_bytes};
  EXPECT_EQ(read(file, file_bytes - 100, memory.data(), 2 * block_bytes, read_path::buffered), 100);
  EXPECT_EQ(read(file, file_bytes, memory.data(), block_bytes, read_path::buffered), 0);
  EXPECT_EQ(read(file, file_bytes + (1 << 20), memory.data(), block_bytes, read_path::buffered), 0);
}

TEST_P(engine_on, hands_up_what_is_left_of_a_file_cut_short_after_it_was_opened) {
  const test_fd file{path};
  const page_memory memory{file_bytes};
  fs::resize_file(path, 10'000);
  EXPECT_EQ(read(file, 4096, memory.data(), 65536, read_path::buffered), 10'000 - 4096);
  EXPECT_EQ(read(file, 65536, memory.data(), 65536, read_path::buffered), 0);
}

TEST_P(engine_on, hands_up_the_errno) {
  const page_memory memory{block_bytes};
  EXPECT_EQ(read(-1, 0, memory.data(), block_bytes, read_path::buffered), -EBADF);
  EXPECT_EQ(read(-1, 0, memory.data(), block_bytes, read_path::direct), -EBADF);
  EXPECT_EQ(read(test_fd{path, O_WRONLY}, 0, memory.data(), block_bytes, read_path::buffered), -EBADF);
  EXPECT_EQ(read(test_fd{folder.path()}, 0, memory.data(), block_bytes, read_path::buffered), -EISDIR);
}

// What a file system makes of misaligned direct reads is its own affair: an errno, or the bytes.
TEST_P(engine_on, answers_misaligned_direct_reads_as_the_file_system_does) {
  const test_fd file{path, O_RDONLY | O_DIRECT};
  const page_memory memory{4 * block_bytes};
  for (const auto& [offset, address] : std::vector<std::pair<size_t, size_t>>{{0, 1}, {1, 0}, {513, 3}}) {
    const auto n = ::pread(file, memory.data() + address, block_bytes, static_cast<off_t>(offset));
    EXPECT_EQ(read(file, offset, memory.data() + address, block_bytes, read_path::direct), n < 0 ? -errno : n);
  }
}

TEST_P(engine_on, goes_on_after_errors) {
  const test_fd file{path};
  const page_memory memory{file_bytes};
  for (int i = 0; i < 50; ++i)
    EXPECT_EQ(read(-1, 0, memory.data(), block_bytes, read_path::buffered), -EBADF);
  EXPECT_EQ(read(file, 0, memory.data(), file_bytes, read_path::buffered), static_cast<int64_t>(file_bytes));
  expect_bytes(memory, 0, file_bytes);
}

/// Thousands of reads of all kinds, `depth` of them at any time, each answered once and with its own bytes.
void read_at_full_depth(read_engine& engine, completions& done, const std::string& path, const byte_vector& content,
                        std::vector<read_path> kinds) {
  constexpr size_t requests = 5000, most_bytes = 3 * block_bytes;
  const test_fd buffered{path}, direct{path, O_RDONLY | O_DIRECT};
  const page_memory memory{engine.depth() * most_bytes}, mapped{content.size(), buffered};
  std::vector<read_request> sent(requests);
  std::vector<size_t> slot_of(requests);
  std::mt19937_64 random{42};
  const auto submit = [&](uint64_t tag, size_t slot) {
    const auto kind = kinds[random() % kinds.size()];
    const auto block = random() % (content.size() / block_bytes - 3) * block_bytes;
    const auto odd = kind == read_path::buffered ? random() % block_bytes : 0;
    sent[tag] = {.tag = tag,
                 .fd = kind == read_path::direct ? direct : buffered,
                 .offset_bytes = block + odd,
                 .destination = kind == read_path::populate ? mapped.data() + block : memory.data() + slot * most_bytes,
                 .length_bytes = (1 + random() % 3) * block_bytes - odd,
                 .path = kind};
    slot_of[tag] = slot;
    engine.submit(sent[tag]);
  };
  uint64_t next = 0;
  for (; next < engine.depth(); ++next)
    submit(next, next);
  std::vector<int> answers(requests);
  for (size_t i = 0; i < requests; ++i) {
    const auto [tag, result] = done.next();
    const auto& request = sent.at(tag);
    ++answers[tag];
    ASSERT_EQ(result, static_cast<int64_t>(request.length_bytes)) << tag;
    ASSERT_TRUE(same_bytes({request.destination, request.length_bytes},
                           std::span{content}.subspan(request.offset_bytes, request.length_bytes)))
        << tag;
    if (next < requests) {
      submit(next, slot_of[tag]);
      ++next;
    }
  }
  EXPECT_EQ(answers, std::vector<int>(requests, 1));
  EXPECT_EQ(done.count(), requests);
}

TEST_P(engine_on, answers_thousands_of_requests_once_each) {
  read_at_full_depth(*engine, done, path, content, {read_path::buffered, read_path::direct, read_path::populate});
}

TEST_P(engine_on, reads_from_memory_file_systems) {
  const test_folder in_memory{"/dev/shm"};
  write_file(in_memory / "bytes", content);
  const test_fd file{in_memory / "bytes"};
  const page_memory memory{file_bytes}, mapped{file_bytes, file};
  EXPECT_EQ(read(file, 77, memory.data(), file_bytes - 77, read_path::buffered), static_cast<int64_t>(file_bytes - 77));
  expect_bytes(memory, 77, file_bytes - 77);
  EXPECT_EQ(read(file, 0, mapped.data(), file_bytes, read_path::populate), static_cast<int64_t>(file_bytes));
  expect_bytes(mapped, 0, file_bytes);
}

// Repeated, since what goes wrong at the end goes wrong seldom.
TEST_P(engine_on, its_end_waits_for_what_is_in_flight) {
  const test_fd file{path}, direct{path, O_RDONLY | O_DIRECT};
  for (int round = 0; round < 20; ++round) {
    const auto kind = round % 2 == 0 ? read_path::buffered : read_path::direct;
    const page_memory memory{8 << 20};
    completions answers;
    auto ending = make_read_engine({.kind = GetParam(), .depth = 8}, answers.callback());
    ASSERT_TRUE(ending) << to_text(ending.error());
    for (uint64_t i = 0; i < 8; ++i)
      (*ending)->submit({.tag = i,
                         .fd = kind == read_path::direct ? direct : file,
                         .offset_bytes = 0,
                         .destination = memory.data() + (i << 20),
                         .length_bytes = 1 << 20,
                         .path = kind});
    ending->reset();
    ASSERT_EQ(answers.count(), 8u);
    for (size_t i = 0; i < 8; ++i)
      ASSERT_TRUE(same_bytes({memory.data() + (i << 20), 1 << 20}, std::span{content}.first(1 << 20)));
  }
}

/// An engine of depth 1 whose thread stands still in the callback of request 0 until it is let go.
class held_engine {
public:
  explicit held_engine(engine_kind kind)
      : engine_(*make_read_engine({.kind = kind, .depth = 1}, [this](const read_completion& completion) {
          if (completion.tag == 0) {
            reached_.set_value();
            go_on_.get_future().wait();
          }
        })) {
    submit(0);
    reached_.get_future().wait();
  }

  void submit(uint64_t tag) {
    engine_->submit({.tag = tag,
                     .fd = -1,
                     .offset_bytes = 0,
                     .destination = nullptr,
                     .length_bytes = 1,
                     .path = read_path::buffered});
  }
  void let_go() { go_on_.set_value(); }

private:
  std::promise<void> reached_, go_on_;
  std::unique_ptr<read_engine> engine_;
};

TEST_P(engine_on, takes_the_next_request_while_it_reports_the_last) {
  held_engine busy{GetParam()};
  busy.submit(1);
  busy.let_go();
}

/// Without a folder: what dies on purpose would leave it.
class engine_that_dies : public testing::TestWithParam<engine_kind> {};

INSTANTIATE_TEST_SUITE_P(all, engine_that_dies, testing::Values(engine_kind::io_uring, engine_kind::threads),
                         [](const auto& kind) { return std::string{name(kind.param)}; });

TEST_P(engine_that_dies, asserts_that_no_more_than_its_depth_is_asked_of_it) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto one_too_many = [] {
    held_engine busy{GetParam()};
    busy.submit(1);
    busy.submit(2);
  };
  EXPECT_DEATH(one_too_many(), "in_flight_ < depth_");
}

TEST(read_engine, automatic_takes_io_uring_where_the_system_allows_it) {
  completions done;
  const auto automatic = make_read_engine({}, done.callback());
  ASSERT_TRUE(automatic) << to_text(automatic.error());
  const auto uring = make_read_engine({.kind = engine_kind::io_uring}, done.callback());
  EXPECT_EQ((*automatic)->name(), name(uring ? engine_kind::io_uring : engine_kind::threads));
}

TEST(read_engine, brings_in_whole_pages_ahead_of_a_read) {
  const page_memory memory{16 * block_bytes};
  ASSERT_EQ(pages_in_memory(memory.data(), 16 * block_bytes), 0u);
  touch_pages(memory.data() + 4 * block_bytes + 100, block_bytes);  // the ends of two pages
  EXPECT_EQ(pages_in_memory(memory.data(), 16 * block_bytes), 2u);
}

}  // namespace
