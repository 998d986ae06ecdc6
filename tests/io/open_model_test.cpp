// Opening a model: the header is right, or the error says what is wrong with which file.
#include "io/open_model.hpp"

#include <gtest/gtest.h>

#include "tests/io/test_files.hpp"

using namespace longshore;

namespace {

class open_model_of : public testing::Test {
protected:
  open_model_of() { write_file(path, content); }

  file_source source() const { return {.path = path, .identity = *identity_of(path)}; }

  void expect_error(const file_source& from, errc code) const {
    const auto opened = open_model(from);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, code) << to_text(opened.error());
    EXPECT_EQ(opened.error().path, path);
  }

  test_folder folder;
  std::string path = folder / "model.safetensors";
  byte_vector content = made_model({{"one", 1000}, {"two", 3000}});
};

TEST_F(open_model_of, gives_the_file_and_its_header) {
  const auto opened = open_model(source());
  ASSERT_TRUE(opened) << to_text(opened.error());
  EXPECT_EQ(opened->file.path(), path);
  EXPECT_EQ(opened->file.size_bytes(), content.size());
  ASSERT_EQ(opened->header->tensors.size(), 2u);
  EXPECT_EQ(opened->header->tensors[1].name, "two");
  EXPECT_EQ(opened->header->tensors[1].size_bytes(), 3000u);
  EXPECT_EQ(opened->header->data_begin_bytes + 4000, content.size());
}

TEST_F(open_model_of, refuses_another_file_than_was_asked_for) {
  const auto asked = source();
  fs::remove(path);
  write_file(folder / "placeholder", "x");  // takes the inode that is free now
  write_file(path, content);
  expect_error(asked, errc::changed_on_disk);
}

TEST_F(open_model_of, refuses_a_file_that_grew_since) {
  const auto asked = source();
  fs::resize_file(path, content.size() + 1);
  expect_error(asked, errc::changed_on_disk);
}

TEST_F(open_model_of, says_that_a_file_is_gone) {
  const auto asked = source();
  fs::remove(path);
  expect_error(asked, errc::not_found);
}

TEST_F(open_model_of, a_cut_file_is_no_model_wherever_it_was_cut) {
  for (const size_t length :
       {size_t{0}, size_t{1}, size_t{7}, size_t{8}, size_t{20}, content.size() - 4000, content.size() - 1}) {
    SCOPED_TRACE(length);
    write_file(path, std::span{content}.first(length));
    expect_error(source(), errc::bad_format);
  }
}

TEST_F(open_model_of, a_header_length_beyond_the_file_is_not_believed) {
  for (const size_t byte : {1, 2, 4, 7}) {
    auto wrong = content;
    wrong[byte] = std::byte{0x7f};
    write_file(path, wrong);
    expect_error(source(), errc::bad_format);
  }
}

TEST_F(open_model_of, reads_nothing_of_the_data) {
  write_file(path, made_model({{"large", 8 << 20}}));
  make_cold(path);
  const auto opened = open_model(source());
  ASSERT_TRUE(opened) << to_text(opened.error());
  const page_memory mapped{8 << 20, opened->file.fd()};
  EXPECT_LE(pages_in_memory(mapped.data(), 8 << 20), 256u);  // the kernel's read-ahead behind the header
}

}  // namespace
