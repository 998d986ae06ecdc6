#include "app/cli/make_checkpoint.hpp"

#include <bit>
#include <cmath>
#include <csignal>
#include <map>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/resource.h>

#include "tests/app/model_reader.hpp"

namespace longshore {
namespace {

double half_value(uint16_t half) {
  const int exponent = (half >> 10) & 31;
  EXPECT_NE(exponent, 31) << "infinite, or not a number";
  return std::ldexp((half & 0x3FF) + (exponent ? 1024 : 0), (exponent ? exponent : 1) - 25) * (half >> 15 ? -1 : 1);
}

const layout mixed{{{"b.bias", dtype::F16, {7}},
                    {"a.weight", dtype::F16, {3, 5}},
                    {"norm.weight", dtype::F32, {9}},
                    {"position_ids", dtype::I64, {1, 6}},
                    {"nothing", dtype::F32, {0, 4}},
                    {"logit_scale", dtype::F32, {}}}};

TEST(make_checkpoint, has_the_tensors_of_a_real_layout) {
  const scratch folder;
  const auto model = part_of(*named_layout("sd15-tiny"), "first_stage_model.");
  ASSERT_EQ(model.tensors.size(), 136U);
  const auto made = make_checkpoint(model, folder / "vae.safetensors");
  ASSERT_TRUE(made) << to_text(made.error());
  const auto file = read_back(folder / "vae.safetensors");
  EXPECT_EQ(names_in_order(file).size(), model.tensors.size());
  EXPECT_EQ(file.header_bytes % 8, 0U);
  EXPECT_EQ(file.header["__metadata__"], json({{"format", "pt"}}));
  EXPECT_EQ(file.data.size(), made->tensor_bytes);
  for (const auto& tensor : model.tensors) {
    EXPECT_EQ(file.header[tensor.name]["dtype"], name(tensor.type));
    EXPECT_EQ(file.header[tensor.name]["shape"], json(tensor.shape));
  }
}

TEST(make_checkpoint, puts_wide_types_first_then_goes_by_name) {
  const scratch folder;
  ASSERT_TRUE(make_checkpoint(mixed, folder / "m.safetensors"));
  const auto names = names_in_order(read_back(folder / "m.safetensors"));
  // "nothing" takes no room, so its place shows in the header's text alone.
  const std::vector<std::string> expected{"position_ids", "logit_scale", "norm.weight",
                                          "nothing",      "a.weight",    "b.bias"};
  EXPECT_TRUE(std::ranges::is_permutation(names, expected));
  const auto text = read_all(folder / "m.safetensors");
  size_t at = 0;
  for (const auto* name : {"position_ids", "logit_scale", "norm.weight", "nothing", "a.weight", "b.bias"}) {
    const auto place = text.find('"' + std::string(name) + '"');
    EXPECT_GT(place, at) << name;
    at = place;
  }
}

TEST(make_checkpoint, weights_are_finite_small_and_varied) {
  const scratch folder;
  const layout model{{{"w", dtype::F16, {64, 512}}, {"n.weight", dtype::F16, {512}}, {"f", dtype::F32, {100, 100}}}};
  ASSERT_TRUE(make_checkpoint(model, folder / "m.safetensors"));
  const auto file = read_back(folder / "m.safetensors");
  for (auto half : file.elements_of<uint16_t>("w")) {
    EXPECT_GT(std::abs(half_value(half)), 0.0004);
    EXPECT_LT(std::abs(half_value(half)), 0.0079);
  }
  for (auto half : file.elements_of<uint16_t>("n.weight")) {
    EXPECT_GE(half_value(half), 1.0);
    EXPECT_LT(half_value(half), 1.13);
  }
  for (auto value : file.elements_of<float>("f"))
    EXPECT_LT(std::abs(value), 0.0079F);
  const auto words = file.elements_of<uint64_t>("w");
  EXPECT_EQ(std::set<uint64_t>(words.begin(), words.end()).size(), words.size()) << "a pattern that repeats compresses";
}

TEST(make_checkpoint, doubles_and_bfloats_are_small_too) {
  const scratch folder;
  const layout model{{{"d", dtype::F64, {50, 50}}, {"b", dtype::BF16, {50, 50}}, {"n.weight", dtype::BF16, {99}}}};
  ASSERT_TRUE(make_checkpoint(model, folder / "m.safetensors"));
  const auto file = read_back(folder / "m.safetensors");
  for (auto value : file.elements_of<double>("d"))
    EXPECT_LT(std::abs(value), 0.0079);
  for (const auto& [name, low, high] : {std::tuple{"b", 0.0004F, 0.0079F}, {"n.weight", 1.0F, 1.13F}})
    for (uint32_t bits : file.elements_of<uint16_t>(name)) {
      const auto value = std::abs(std::bit_cast<float>(bits << 16));
      EXPECT_GE(value, low);
      EXPECT_LT(value, high);
    }
}

TEST(make_checkpoint, position_ids_count) {
  const scratch folder;
  ASSERT_TRUE(make_checkpoint(mixed, folder / "m.safetensors"));
  const auto ids = read_back(folder / "m.safetensors").elements_of<int64_t>("position_ids");
  EXPECT_EQ(ids, (std::vector<int64_t>{0, 1, 2, 3, 4, 5}));
}

TEST(make_checkpoint, the_seed_decides_the_bytes_and_the_block_size_does_not) {
  const scratch folder;
  const auto model = uniform_layout(3, 4096);
  ASSERT_TRUE(make_checkpoint(model, folder / "a.safetensors", {.seed = 1}));
  ASSERT_TRUE(make_checkpoint(model, folder / "b.safetensors", {.seed = 1, .block_bytes = 264}));
  ASSERT_TRUE(make_checkpoint(model, folder / "c.safetensors", {.seed = 2}));
  EXPECT_EQ(read_all(folder / "a.safetensors"), read_all(folder / "b.safetensors"));
  EXPECT_NE(read_all(folder / "a.safetensors"), read_all(folder / "c.safetensors"));
}

TEST(make_checkpoint, recasts_floats_alone) {
  const scratch folder;
  ASSERT_TRUE(make_checkpoint(mixed, folder / "m.safetensors", {.float_type = dtype::F8_E4M3}));
  const auto file = read_back(folder / "m.safetensors");
  EXPECT_EQ(names_in_order(file).size(), mixed.tensors.size());
  for (const auto& tensor : mixed.tensors)
    EXPECT_EQ(file.header[tensor.name]["dtype"], tensor.type == dtype::I64 ? "I64" : "F8_E4M3");
}

TEST(make_checkpoint, twenty_thousand_tensors) {
  const scratch folder;
  const auto made = make_checkpoint(uniform_layout(20'000, 4096), folder / "many.safetensors");
  ASSERT_TRUE(made);
  EXPECT_EQ(made->tensor_bytes, 20'000U * 4096);
  EXPECT_EQ(names_in_order(read_back(folder / "many.safetensors")).size(), 20'000U);
}

/// The tensors of all shards, after a check of the index against them.
std::map<std::string, std::string> tensors_of_shards(const scratch& folder, const made_checkpoint& made) {
  const auto index = json::parse(read_all(made.paths.back()));
  std::map<std::string, std::string> tensors;
  for (size_t i = 0; i + 1 < made.paths.size(); ++i) {
    const auto file = read_back(made.paths[i]);
    const auto names = names_in_order(file);
    EXPECT_FALSE(names.empty());
    for (const auto& name : names) {
      tensors[name] = file.bytes_of(name);
      EXPECT_EQ(folder / index["weight_map"][name], made.paths[i]);
    }
  }
  EXPECT_EQ(index["weight_map"].size(), tensors.size());
  EXPECT_EQ(index["metadata"]["total_size"], made.tensor_bytes);
  return tensors;
}

TEST(make_checkpoint, four_shards_hold_the_bytes_of_one_file) {
  const scratch folder;
  const auto model = uniform_layout(40, 8192);
  ASSERT_TRUE(make_checkpoint(model, folder / "one.safetensors"));
  const auto made = make_checkpoint(model, folder / "m.safetensors", {.shards = 4});
  ASSERT_TRUE(made);
  EXPECT_EQ(made->paths,
            (std::vector<std::string>{folder / "m-00001-of-00004.safetensors", folder / "m-00002-of-00004.safetensors",
                                      folder / "m-00003-of-00004.safetensors", folder / "m-00004-of-00004.safetensors",
                                      folder / "m.safetensors.index.json"}));
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(read_back(made->paths[static_cast<size_t>(i)]).data.size(), 10U * 8192);
  const auto one = read_back(folder / "one.safetensors");
  for (const auto& [name, bytes] : tensors_of_shards(folder, *made))
    EXPECT_EQ(bytes, one.bytes_of(name)) << name;
}

RC_GTEST_PROP(make_checkpoint, any_layout_in_any_number_of_shards_is_whole, ()) {
  const scratch folder;
  layout model;
  const auto sizes = *rc::gen::nonEmpty(rc::gen::container<std::vector<uint8_t>>(rc::gen::arbitrary<uint8_t>()));
  for (size_t i = 0; i < sizes.size(); ++i)
    model.tensors.push_back({"t" + std::to_string(i), i % 3 ? dtype::F16 : dtype::F32, {sizes[i]}});
  const auto shards = *rc::gen::inRange<size_t>(1, std::min<size_t>(sizes.size(), 9) + 1);
  const auto made = make_checkpoint(model, folder / "m.safetensors", {.shards = shards});
  RC_ASSERT(made.has_value());
  RC_ASSERT(made->paths.size() == (shards == 1 ? 1 : shards + 1));
  if (shards > 1)
    RC_ASSERT(tensors_of_shards(folder, *made).size() == sizes.size());
}

TEST(make_checkpoint, progress_ends_at_the_whole) {
  const scratch folder;
  std::vector<uint64_t> seen;
  const auto note = [&](uint64_t done, uint64_t total) {
    EXPECT_EQ(total, 3U * 4096);
    seen.push_back(done);
    return true;
  };
  ASSERT_TRUE(make_checkpoint(uniform_layout(3, 4096), folder / "m.safetensors", {.progress = note}));
  EXPECT_EQ(seen, (std::vector<uint64_t>{4096, 8192, 12288}));
}

TEST(make_checkpoint, stopped_at_any_block_leaves_nothing) {
  for (uint64_t blocks = 1; blocks <= 8; ++blocks) {
    const scratch folder;
    const auto stop = [&](uint64_t done, uint64_t) { return done < blocks * 4096; };
    const auto made =
        make_checkpoint(uniform_layout(8, 4096), folder / "m.safetensors", {.shards = 2, .progress = stop});
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error().code, errc::cancelled);
    EXPECT_TRUE(folder.files().empty());
  }
}

/// Writes past a size fail with EFBIG, as they fail with ENOSPC on a full disk.
class file_size_limit {
public:
  explicit file_size_limit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~file_size_limit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

private:
  rlimit before_{};
  void (*handler_)(int);
};

TEST(make_checkpoint, a_write_that_fails_is_typed_and_leaves_what_was_there) {
  const scratch folder;
  std::ofstream(folder / "m.safetensors") << "old";
  const file_size_limit limit(10'000);
  const auto made = make_checkpoint(uniform_layout(4, 4096), folder / "m.safetensors");
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, errc::io_failed);
  EXPECT_EQ(made.error().os_error, EFBIG);
  EXPECT_EQ(made.error().path, folder / "m.safetensors");
  EXPECT_EQ(folder.files(), std::set<std::string>{"m.safetensors"});
  EXPECT_EQ(read_all(folder / "m.safetensors"), "old");
}

TEST(make_checkpoint, a_folder_that_is_a_file) {
  const scratch folder;
  std::ofstream(folder / "models") << "not a folder";
  const auto made = make_checkpoint(mixed, folder / "models/m.safetensors");
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, errc::io_failed);
  EXPECT_NE(made.error().os_error, 0);
}

TEST(make_checkpoint, a_target_that_is_a_folder) {
  const scratch folder;
  fs::create_directories(folder / "m.safetensors/x");
  const auto made = make_checkpoint(mixed, folder / "m.safetensors");
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, errc::io_failed);
  EXPECT_EQ(made.error().os_error, EISDIR);
  EXPECT_TRUE(folder.files().empty());
}

TEST(make_checkpoint, refuses_what_makes_no_sense) {
  const scratch folder;
  const auto code = [&](const std::string& file, checkpoint_options options) {
    const auto made = make_checkpoint(mixed, folder / file, options);
    return made ? errc{} : made.error().code;
  };
  EXPECT_EQ(code("m.bin", {}), errc::bad_argument);
  EXPECT_EQ(code("m.safetensors", {.shards = 0}), errc::bad_argument);
  EXPECT_EQ(code("m.safetensors", {.shards = 7}), errc::bad_argument) << "more than there are tensors";
  EXPECT_EQ(code("m.safetensors", {.shards = 3, .max_shards = 2}), errc::bad_argument);
  EXPECT_TRUE(folder.files().empty());
}

}  // namespace
}  // namespace longshore
