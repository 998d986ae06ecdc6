#include "app/cli/layout.hpp"

#include "tests/app/model_reader.hpp"

namespace longshore {
namespace {

TEST(layout, those_of_the_repository_have_their_published_sizes) {
  for (const auto* name : {"sd15-tiny", "clip_l", "sd15", "sdxl", "flux1-small"}) {
    const auto model = named_layout(name);
    ASSERT_TRUE(model) << to_text(model.error());
    const auto document = json::parse(read_all(std::string(LONGSHORE_SOURCE_DIR) + "/app/layouts/" + name + ".json"));
    EXPECT_EQ(model->size_bytes(), document["data_bytes"]) << name;
    EXPECT_EQ(model->tensors.size(), document["tensors"].size()) << name;
  }
}

TEST(layout, an_unknown_name_or_file_is_not_found) {
  EXPECT_EQ(named_layout("sd99").error().code, errc::not_found);
  const scratch folder;
  const auto missing = read_layout(folder / "none.json");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, errc::not_found);
  EXPECT_EQ(missing.error().path, folder / "none.json");
}

TEST(layout, wrong_files_are_refused_with_the_tensor) {
  const scratch folder;
  const auto read = [&](const std::string& text) {
    std::ofstream(folder / "l.json") << text;
    return read_layout(folder / "l.json", {.max_total_bytes = 1000});
  };
  for (const auto* text : {"", "{", "[]", "{}", R"({"tensors": []})"}) {
    ASSERT_FALSE(read(text)) << text;
    EXPECT_EQ(read(text).error().code, errc::bad_format) << text;
  }
  for (const auto* fields :
       {"1", "{}", R"({"dtype": "F16"})", R"({"dtype": "F17", "shape": []})", R"({"dtype": 16, "shape": []})",
        R"({"dtype": "F16", "shape": 3})", R"({"dtype": "F16", "shape": [-1]})", R"({"dtype": "F16", "shape": [1.5]})",
        R"({"dtype": "F4", "shape": [3]})", R"({"dtype": "F16", "shape": [501]})",
        R"({"dtype": "F16", "shape": [4294967296, 4294967296]})"}) {
    const auto model = read(R"({"tensors": {"a": )" + std::string(fields) + "}}");
    ASSERT_FALSE(model) << fields;
    EXPECT_EQ(model.error().code, errc::bad_format) << fields;
    EXPECT_EQ(model.error().where, "a") << fields;
  }
  EXPECT_TRUE(read(R"({"tensors": {"a": {"dtype": "F16", "shape": [500]}}})"));
}

}  // namespace
}  // namespace longshore
