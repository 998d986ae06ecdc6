// A mapping is the file itself, for as long as it lives.
#include "io/mapping.hpp"

#include <thread>

#include <gtest/gtest.h>

#include "tests/io/test_files.hpp"

using namespace longshore;

namespace {

class mapping_of : public testing::Test {
protected:
  mapping_of() { write_file(path, content); }

  mapping map() {
    const auto file = model_file::open(path);
    EXPECT_TRUE(file) << to_text(file.error());
    auto mapped = mapping::of(*file);
    EXPECT_TRUE(mapped) << to_text(mapped.error());
    return std::move(*mapped);
  }

  bool shows_content(const mapping& m) const {
    return std::equal(content.begin(), content.end(), m.data(), m.data() + m.size_bytes());
  }

  test_folder folder;
  std::string path = folder / "bytes";
  byte_vector content = made_bytes(100'001, 2);
};

TEST_F(mapping_of, shows_the_files_bytes_after_the_file_is_closed_and_gone) {
  const auto mapped = map();
  fs::remove(path);
  EXPECT_EQ(mapped.size_bytes(), content.size());
  EXPECT_TRUE(shows_content(mapped));
}

TEST_F(mapping_of, keeps_what_is_written_to_itself) {
  const auto mapped = map();
  const auto other = map();
  mapped.data()[5000] ^= std::byte{0xff};
  EXPECT_FALSE(shows_content(mapped));
  EXPECT_TRUE(shows_content(other));
  EXPECT_TRUE(shows_content(map())) << "the file has not changed";
}

TEST_F(mapping_of, moves_with_its_owner) {
  auto a = map();
  const auto* data = a.data();
  mapping b{std::move(a)};
  EXPECT_EQ(a.data(), nullptr);
  EXPECT_EQ(a.size_bytes(), 0u);
  mapping c;
  c = std::move(b);
  EXPECT_EQ(c.data(), data);
  EXPECT_TRUE(shows_content(c));
}

TEST_F(mapping_of, an_empty_file_is_an_empty_mapping) {
  write_file(path, "");
  const auto mapped = map();
  EXPECT_EQ(mapped.data(), nullptr);
  EXPECT_EQ(mapped.size_bytes(), 0u);
}

TEST_F(mapping_of, costs_no_memory_before_it_is_used) {
  make_cold(path);
  const auto mapped = map();
  EXPECT_EQ(pages_in_memory(mapped.data(), mapped.size_bytes()), 0u);
}

TEST_F(mapping_of, is_populated_whole_while_it_lives) {
  content = made_bytes((40 << 20) + 77, 3);  // several steps of each thread, and a rest
  write_file(path, content);
  auto mapped = map();
  mapped.populate_behind();
  const mapping moved{std::move(mapped)};
  const auto pages = (content.size() + 4095) / 4096;
  while (pages_mapped(moved.data(), moved.size_bytes()) < pages)
    std::this_thread::yield();
  EXPECT_TRUE(shows_content(moved));
}

TEST_F(mapping_of, ends_while_it_is_populated) {
  content = made_bytes(40 << 20, 4);
  write_file(path, content);
  for (int round = 0; round < 20; ++round)
    map().populate_behind();
}

TEST_F(mapping_of, what_cannot_be_mapped_is_an_error) {
  const auto file = model_file::open("/proc/self/maps");  // regular, without a size
  ASSERT_TRUE(file) << to_text(file.error());
  EXPECT_EQ(mapping::of(*file)->size_bytes(), 0u);
  const auto attribute = model_file::open("/sys/kernel/mm/transparent_hugepage/enabled");  // a size, and no pages
  ASSERT_TRUE(attribute) << to_text(attribute.error());
  const auto refused = mapping::of(*attribute);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::io_failed);
  EXPECT_EQ(refused.error().path, "/sys/kernel/mm/transparent_hugepage/enabled");
  EXPECT_NE(refused.error().os_error, 0);
}

}  // namespace
