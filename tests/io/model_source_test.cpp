// From the names a person gives to the files of a model.
#include "io/model_source.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "io/model_file.hpp"
#include "tests/io/test_files.hpp"

using namespace longshore;

namespace {

class model_source_of : public testing::Test {
protected:
  model_source_of() {
    for (const auto* name : {"a.safetensors", "b.safetensors"})
      write_file(folder / name, made_model({{name, 100'000}}));
    write_file(index, R"({"weight_map": {"x": "b.safetensors", "y": "a.safetensors"}})");
  }

  static void expect_error(const std::vector<std::string>& paths, errc code, const std::string& path) {
    const auto source = find_source(paths);
    ASSERT_FALSE(source);
    EXPECT_EQ(source.error().code, code) << to_text(source.error());
    EXPECT_EQ(source.error().path, path) << to_text(source.error());
  }

  hold_mode held(hold_choice choice) const { return find_source({a}, {.hold = choice})->files.at(0).hold; }

  test_folder folder;
  std::string a = folder / "a.safetensors", b = folder / "b.safetensors",
              index = folder / "model.safetensors.index.json";
};

TEST_F(model_source_of, files_keep_their_order_and_bring_their_identity) {
  const auto source = find_source({b, a});
  ASSERT_TRUE(source) << to_text(source.error());
  ASSERT_EQ(source->files.size(), 2u);
  EXPECT_EQ(source->files[0].path, b);
  EXPECT_EQ(source->files[1].path, a);
  EXPECT_EQ(source->files[0].identity, *identity_of(b));
  EXPECT_EQ(source->index, nullptr);
  EXPECT_EQ(source->layout_tag, "");
}

TEST_F(model_source_of, an_index_stands_for_the_files_beside_it) {
  const auto source = find_source({index});
  ASSERT_TRUE(source) << to_text(source.error());
  std::vector<std::string> paths;
  for (const auto& file : source->files)
    paths.push_back(file.path);
  std::ranges::sort(paths);
  EXPECT_EQ(paths, (std::vector<std::string>{a, b}));
  EXPECT_EQ(source->index_path, index);
  ASSERT_NE(source->index, nullptr);
}

TEST_F(model_source_of, another_index_is_another_layout) {
  const auto before = find_source({index})->layout_tag;
  EXPECT_EQ(find_source({index})->layout_tag, before);
  fs::rename(index, folder / "old");
  write_file(index, R"({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}})");
  EXPECT_NE(find_source({index})->layout_tag, before);
  EXPECT_NE(before, "");
}

TEST_F(model_source_of, a_cold_file_is_owned_and_a_hot_one_mapped_unless_told_otherwise) {
  make_cold(a);
  EXPECT_EQ(held(hold_choice::automatic), hold_mode::owned);
  EXPECT_EQ(held(hold_choice::mapped), hold_mode::mapped);
  write_file(a, made_model({{"fresh", 100'000}}));
  EXPECT_EQ(held(hold_choice::automatic), hold_mode::mapped);
  EXPECT_EQ(held(hold_choice::owned), hold_mode::owned);
  EXPECT_TRUE(find_source({a})->files.at(0).any_hold);
  EXPECT_FALSE(find_source({a}, {.hold = hold_choice::owned})->files.at(0).any_hold);
  EXPECT_EQ(find_source({a}, {.hot_share = 1.0})->files.at(0).hold, hold_mode::owned);
}

TEST_F(model_source_of, names_what_is_wrong) {
  expect_error({}, errc::bad_argument, "");
  expect_error({a, index}, errc::bad_argument, index);
  expect_error({folder / "missing"}, errc::not_found, folder / "missing");
  expect_error({folder.path()}, errc::unsupported, folder.path());
  expect_error({folder / "missing.index.json"}, errc::not_found, folder / "missing.index.json");
}

TEST_F(model_source_of, a_missing_shard_is_named) {
  fs::remove(b);
  expect_error({index}, errc::not_found, b);
}

TEST_F(model_source_of, a_file_too_large_for_an_index_is_not_read) {
  fs::resize_file(index, uint64_t{1} << 40);
  expect_error({index}, errc::bad_format, index);
}

TEST_F(model_source_of, an_index_that_is_none_is_refused) {
  write_file(index, "[]");
  expect_error({index}, errc::bad_format, index);
}

TEST_F(model_source_of, an_index_is_known_by_its_ending) {
  EXPECT_TRUE(is_shard_index("model.safetensors.index.json"));
  EXPECT_FALSE(is_shard_index("model.safetensors"));
  EXPECT_FALSE(is_shard_index("index.json"));
}

class model_source_to_cast : public model_source_of {
protected:
  model_source_to_cast() {
    write_file(half, made_model({{"bytes", 100}, {"weight", 100'000, "F16", 2}, {"scale", 80, "F64", 8}}));
  }

  file_source source(hold_choice hold, const std::string& to) const {
    const auto found = find_source({half}, {.hold = hold, .cast_to = to});
    EXPECT_TRUE(found) << to_text(found.error());
    return found->files.at(0);
  }

  static void expect_refusal(const std::string& path, const source_options& options) {
    const auto refused = find_source({path}, options);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, errc::bad_argument);
    EXPECT_NE(refused.error().what.find(options.cast_to), std::string::npos) << to_text(refused.error());
  }

  std::string half = folder / "half.safetensors";
};

TEST_F(model_source_to_cast, memory_is_owned_however_hot_the_file_is) {
  EXPECT_EQ(source(hold_choice::automatic, "").hold, hold_mode::mapped);
  const auto cast = source(hold_choice::automatic, "F32");
  EXPECT_EQ(cast.hold, hold_mode::owned);
  EXPECT_TRUE(cast.any_hold);
  EXPECT_EQ(cast.cast_to, "F32");
  EXPECT_EQ(source(hold_choice::pinned, "BF16").hold, hold_mode::pinned);
}

TEST_F(model_source_to_cast, nothing_is_done_to_a_file_whose_floats_are_of_that_type) {
  const auto same = source(hold_choice::automatic, "F16");
  EXPECT_EQ(same.hold, hold_mode::mapped);
  EXPECT_EQ(same.cast_to, "");
  EXPECT_EQ(source(hold_choice::mapped, "F16"), source(hold_choice::mapped, ""));
  EXPECT_EQ(source(hold_choice::device, "F16").cast_to, "F16") << "which a device decides for itself";
}

TEST_F(model_source_to_cast, a_mapping_that_would_have_to_change_is_refused) {
  expect_refusal(half, {.hold = hold_choice::mapped, .cast_to = "F32"});
}

TEST_F(model_source_to_cast, what_is_no_type_of_weights_is_refused) {
  for (const auto* type : {"I64", "F64", "f16", "float", "F8_E8M0"})
    expect_refusal(half, {.hold = hold_choice::owned, .cast_to = type});
}

TEST_F(model_source_to_cast, a_file_without_a_header_is_named) {
  write_file(half, std::string("no header"));
  const auto refused = find_source({half}, {.cast_to = "F32"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::bad_format);
  EXPECT_EQ(refused.error().path, half);
}

}  // namespace
