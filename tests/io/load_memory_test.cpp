// The memory of a load, filled by an engine as its plan says, becomes the file.
#include "io/load_memory.hpp"

#include <gtest/gtest.h>

#include "io/page_cache.hpp"
#include "io/read_engine.hpp"
#include "tests/io/completions.hpp"
#include "tests/io/test_files.hpp"

using namespace longshore;

namespace {

constexpr uint64_t chunk_bytes = 256 << 10;

class load_memory_of : public testing::Test {
protected:
  load_memory_of() { write_file(path, content); }

  std::shared_ptr<const opened_file> open() const {
    auto opened = open_model({.path = path, .identity = *identity_of(path)});
    if (!opened)
      throw std::runtime_error(to_text(opened.error()));
    return std::make_shared<const opened_file>(std::move(*opened));
  }

  static void read_all(load_memory& memory, const std::vector<chunk>& plan) {
    completions done;
    const auto engine = *make_read_engine({.depth = 64}, done.callback());
    ASSERT_LE(plan.size(), 64u);
    for (size_t i = 0; i < plan.size(); ++i) {
      const auto& c = plan[i];
      const auto is_direct = c.path == read_path::direct;
      engine->submit({.tag = i,
                      .fd = is_direct ? memory.file().direct_fd() : memory.file().fd(),
                      .offset_bytes = c.offset_bytes,
                      .destination = memory.destination(c),
                      .length_bytes = is_direct ? (c.length_bytes + 4095) / 4096 * 4096 : c.length_bytes,
                      .path = c.path});
    }
    for (const auto& [tag, result] : done.wait_for(plan.size()))
      ASSERT_EQ(result, static_cast<int64_t>(plan[tag].length_bytes));
  }

  void expect_content(const held_file& held) const {
    auto at = content.data() + held.header().data_begin_bytes;
    for (const auto& tensor : held.tensors()) {
      const auto bytes = held.bytes_of(tensor);
      EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), at)) << tensor.name;
      at += bytes.size();
    }
    EXPECT_EQ(at, content.data() + content.size());
  }

  test_folder folder;
  std::string path = folder / "model.safetensors";
  byte_vector content = made_model({{"one", (2 << 20) + 17}, {"two", 1}, {"three", 1'000'003}});
  std::shared_ptr<arena_pool> pool = arena_pool::make(16 << 20, 0);
};

TEST_F(load_memory_of, an_owned_file_is_read_into_an_arena_cold_and_hot) {
  for (const auto path_taken : {read_path::direct, read_path::buffered}) {
    if (path_taken == read_path::direct)
      make_cold(path);
    else
      write_file(path, content);
    auto memory = load_memory::owned(open(), *pool);
    ASSERT_TRUE(memory) << to_text(memory.error());
    const auto plan = (*memory)->plan({.chunk_bytes = chunk_bytes});
    EXPECT_EQ(plan.back().path, path_taken)
        << "the page cache holds " << *resident_bytes((*memory)->file().fd(), 0, content.size());
    EXPECT_EQ(plan.front().offset_bytes, 0u);
    EXPECT_EQ(plan.back().offset_bytes + plan.back().length_bytes, content.size());
    read_all(**memory, plan);
    const auto held = (*memory)->finish();
    memory->reset();
    EXPECT_FALSE(held->is_mapped());
    EXPECT_EQ(pool->mapped_bytes(), arena_pool::rounded(content.size()));
    expect_content(*held);
  }
  EXPECT_EQ(pool->mapped_bytes(), 0u);
}

TEST_F(load_memory_of, touching_ahead_leaves_what_the_reads_brought) {
  for (int round = 0; round < 20; ++round) {
    make_cold(path);
    auto memory = load_memory::owned(open(), *pool);
    ASSERT_TRUE(memory) << to_text(memory.error());
    const auto plan = (*memory)->plan({.chunk_bytes = chunk_bytes});
    (*memory)->touch_ahead(plan);
    if (round % 2 == 0) {
      read_all(**memory, plan);
      expect_content(*(*memory)->finish());
    }
  }
  EXPECT_EQ(pool->mapped_bytes(), 0u);
}

TEST_F(load_memory_of, a_mapped_file_is_populated) {
  make_cold(path);
  auto memory = load_memory::mapped(open());
  ASSERT_TRUE(memory) << to_text(memory.error());
  EXPECT_TRUE((*memory)->is_mapped());
  const auto plan = (*memory)->plan({.chunk_bytes = chunk_bytes});
  for (const auto& c : plan)
    EXPECT_EQ(c.path, read_path::populate);
  read_all(**memory, plan);
  const auto held = (*memory)->finish();
  memory->reset();
  EXPECT_TRUE(held->is_mapped());
  expect_content(*held);
}

TEST_F(load_memory_of, a_file_that_does_not_fit_is_named) {
  const auto small = arena_pool::make(arena_pool::granule_bytes, 0);
  const auto memory = load_memory::owned(open(), *small);
  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().code, errc::out_of_budget);
  EXPECT_EQ(memory.error().path, path);
}

TEST_F(load_memory_of, a_load_given_up_gives_its_memory_back) {
  {
    const auto memory = load_memory::owned(open(), *pool);
  }
  EXPECT_EQ(pool->mapped_bytes(), 0u);
}

TEST_F(load_memory_of, a_file_without_data_has_an_empty_plan) {
  write_file(path, made_model({}));
  const auto memory = load_memory::owned(open(), *pool);
  ASSERT_TRUE(memory) << to_text(memory.error());
  EXPECT_TRUE((*memory)->plan({}).empty());
  EXPECT_TRUE((*memory)->finish()->tensors().empty());
}

TEST_F(load_memory_of, a_file_in_another_layout_is_seen_as_the_header_says) {
  const auto there = std::make_shared<const safetensors_header>(
      safetensors_header{.data_begin_bytes = 0, .tensors = {{"one", dtype::F32, {2}, 256, 264}}, .metadata = {}});
  const auto memory = load_memory::laid_out(open(), *pool, there, 1024);
  ASSERT_TRUE(memory) << to_text(memory.error());
  EXPECT_EQ(&(*memory)->header(), there.get());
  const std::span whole{(*memory)->data(), 1024};
  (*memory)->touch_ahead({whole.first(512), whole.subspan(512)});
  std::memset(whole.data() + 256, 7, 8);
  const auto held = (*memory)->finish();
  EXPECT_EQ(held->path(), path);
  const auto* one = held->find("one");
  ASSERT_NE(one, nullptr);
  EXPECT_TRUE(same_bytes(held->bytes_of(*one), byte_vector(8, std::byte{7})));
}

TEST_F(load_memory_of, another_layout_that_does_not_fit_is_named) {
  const auto small = arena_pool::make(arena_pool::granule_bytes, 0);
  const auto memory = load_memory::laid_out(open(), *small, nullptr, arena_pool::granule_bytes + 1);
  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().code, errc::out_of_budget);
  EXPECT_EQ(memory.error().path, path);
}

}  // namespace
