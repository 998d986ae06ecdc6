// The engine that lies, around both real ones: each lie as told, and nothing else wrong.
#include "io/faulty_engine.hpp"

#include <gtest/gtest.h>

#include <cerrno>

#include "tests/io/completions.hpp"
#include "tests/io/test_files.hpp"

using namespace longshore;

namespace {

class faulty_engine_on : public testing::TestWithParam<engine_kind> {
protected:
  faulty_engine_on() { write_file(path, content); }

  /// Reads the first 10,000 bytes through an engine with one fault.
  int64_t read_with(fault what) {
    const auto script = [what](const read_request&, uint64_t) { return what; };
    const auto engine = make_faulty_engine({.kind = GetParam(), .depth = 2}, script, done.callback());
    if (!engine)
      throw std::runtime_error(to_text(engine.error()));
    const test_fd file{path};
    (*engine)->submit({.tag = 5,
                       .fd = file,
                       .offset_bytes = 0,
                       .destination = memory.data(),
                       .length_bytes = 10'000,
                       .path = read_path::buffered});
    const auto completion = done.next();
    EXPECT_EQ(completion.tag, 5u);
    EXPECT_EQ(done.count(), 1u);
    return completion.result;
  }

  bool memory_holds(size_t count) const {
    return std::equal(content.begin(), content.begin() + static_cast<ptrdiff_t>(count), memory.data());
  }

  test_folder folder;
  std::string path = folder / "bytes";
  byte_vector content = made_bytes(10'000, 4);
  page_memory memory{12'288};
  completions done;
};

INSTANTIATE_TEST_SUITE_P(engines, faulty_engine_on, testing::Values(engine_kind::io_uring, engine_kind::threads),
                         [](const auto& engine) { return std::string{name(engine.param)}; });

TEST_P(faulty_engine_on, tells_the_truth_when_told_to) {
  EXPECT_EQ(read_with(no_fault{}), 10'000);
  EXPECT_TRUE(memory_holds(10'000));
}

TEST_P(faulty_engine_on, reads_short) {
  EXPECT_EQ(read_with(short_read{1234}), 1234);
  EXPECT_TRUE(memory_holds(1234));
  EXPECT_EQ(memory.data()[1234], std::byte{0});
}

TEST_P(faulty_engine_on, a_short_read_is_never_longer_than_what_was_asked) {
  EXPECT_EQ(read_with(short_read{1 << 20}), 10'000);
}

TEST_P(faulty_engine_on, reads_nothing) { EXPECT_EQ(read_with(short_read{0}), 0); }

TEST_P(faulty_engine_on, fails_without_reading) {
  EXPECT_EQ(read_with(failing_read{EIO}), -EIO);
  EXPECT_EQ(memory.data()[0], std::byte{0});
}

TEST_P(faulty_engine_on, flips_one_byte) {
  EXPECT_EQ(read_with(corrupt_read{777}), 10'000);
  EXPECT_FALSE(memory_holds(10'000));
  memory.data()[777] ^= std::byte{0xff};
  EXPECT_TRUE(memory_holds(10'000));
}

TEST_P(faulty_engine_on, changes_the_file_before_it_reads) {
  EXPECT_EQ(read_with(called_back{[this] { fs::resize_file(path, 100); }}), 100);
}

TEST_P(faulty_engine_on, shows_its_script_each_request_and_its_number) {
  std::vector<std::pair<uint64_t, uint64_t>> seen;  // number, offset
  const auto script = [&](const read_request& request, uint64_t number) -> fault {
    seen.emplace_back(number, request.offset_bytes);
    return number == 1 ? fault{failing_read{EAGAIN}} : fault{no_fault{}};
  };
  const auto engine = make_faulty_engine({.kind = GetParam(), .depth = 3}, script, done.callback());
  ASSERT_TRUE(engine) << to_text(engine.error());
  EXPECT_EQ((*engine)->depth(), 3u);
  EXPECT_EQ((*engine)->name(), name(GetParam()));
  const test_fd file{path};
  for (uint64_t i = 0; i < 3; ++i) {
    (*engine)->submit({.tag = i,
                       .fd = file,
                       .offset_bytes = 1000 * i,
                       .destination = memory.data(),
                       .length_bytes = 10,
                       .path = read_path::buffered});
    const auto completion = done.next();
    EXPECT_EQ(completion.tag, i);
    EXPECT_EQ(completion.result, i == 1 ? -EAGAIN : 10);
  }
  EXPECT_EQ(seen, (std::vector<std::pair<uint64_t, uint64_t>>{{0, 0}, {1, 1000}, {2, 2000}}));
}

TEST_P(faulty_engine_on, passes_on_that_there_is_no_engine) {
  const auto none = make_faulty_engine({.kind = GetParam(), .depth = 0}, {}, done.callback());
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, errc::bad_argument);
}

}  // namespace
