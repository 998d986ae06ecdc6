// A held file: tensors by name, their bytes where they lie.
#include "io/held_file.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "io/open_model.hpp"
#include "tests/io/test_files.hpp"

using namespace longshore;

namespace {

class held_file_of : public testing::Test {
protected:
  held_file_of() { write_file(path, content); }

  std::shared_ptr<const safetensors_header> header() const {
    auto read = read_header(*model_file::open(path));
    if (!read)
      throw std::runtime_error(to_text(read.error()));
    return std::make_shared<const safetensors_header>(std::move(*read));
  }

  void expect_all_tensors(const held_file& held) const {
    auto at = content.data() + held.header().data_begin_bytes;
    for (const auto& [name, size, type, element_bytes] : tensors) {
      const auto* tensor = held.find(name);
      ASSERT_NE(tensor, nullptr) << name;
      EXPECT_EQ(tensor->name, name);
      const auto bytes = held.bytes_of(*tensor);
      ASSERT_EQ(bytes.size(), size);
      EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), at)) << name;
      at += size;
    }
    EXPECT_EQ(held.tensors().size(), tensors.size());
    EXPECT_EQ(held.path(), path);
  }

  test_folder folder;
  std::string path = folder / "model.safetensors";
  // Not in the order of their names, and one of them empty.
  std::vector<made_tensor> tensors{{"weight", 5000}, {"a", 1}, {"zz.empty", 0}, {"bias", 77}, {"weight.scale", 4096}};
  byte_vector content = made_model(tensors);
};

TEST_F(held_file_of, finds_each_tensor_of_an_owned_file) {
  auto memory = arena_pool::make(arena_pool::granule_bytes, 0)->acquire(content.size());
  ASSERT_TRUE(memory) << to_text(memory.error());
  std::memcpy(memory->data(), content.data(), content.size());
  const held_file held{path, header(), std::move(*memory)};
  EXPECT_FALSE(held.is_mapped());
  expect_all_tensors(held);
}

TEST_F(held_file_of, finds_each_tensor_of_a_mapped_file) {
  const held_file held{path, header(), *mapping::of(*model_file::open(path))};
  EXPECT_TRUE(held.is_mapped());
  expect_all_tensors(held);
}

TEST_F(held_file_of, finds_nothing_under_other_names) {
  const held_file held{path, header(), *mapping::of(*model_file::open(path))};
  for (const auto* name : {"", "weigh", "weightx", "A", "zzz", "__metadata__"})
    EXPECT_EQ(held.find(name), nullptr) << name;
}

TEST_F(held_file_of, a_file_without_tensors_finds_nothing) {
  write_file(path, made_model({}));
  const held_file held{path, header(), *mapping::of(*model_file::open(path))};
  EXPECT_TRUE(held.tensors().empty());
  EXPECT_EQ(held.find("weight"), nullptr);
}

}  // namespace
