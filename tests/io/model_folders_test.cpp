// Model files in real folders laid out as ComfyUI's: which one is taken, and what is said when there is none.
#include "io/model_folders.hpp"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <unistd.h>

using namespace longshore;
namespace fs = std::filesystem;

namespace {

class model_folders_test : public testing::Test {
protected:
  void SetUp() override {
    auto pattern = (fs::temp_directory_path() / "longshore-folders-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    top_ = pattern;
  }
  void TearDown() override { fs::remove_all(top_); }

  std::string put(const std::string& name) {
    fs::create_directories((top_ / name).parent_path());
    std::ofstream(top_ / name) << "x";
    return (top_ / name).string();
  }

  std::string find(model_kind kind, const std::string& name) {
    const auto file = find_model_file({(top_ / "a").string(), (top_ / "b").string()}, kind, name);
    return file ? *file : "none";
  }

  error refusal(model_kind kind, const std::string& name, folder_limits limits = {}) {
    const auto file = find_model_file({(top_ / "a").string(), (top_ / "b").string()}, kind, name, limits);
    return file ? error{.what = "found " + *file} : file.error();
  }

  fs::path top_;
};

}  // namespace

TEST_F(model_folders_test, looks_in_the_folders_of_the_kind) {
  const std::pair<model_kind, const char*> places[] = {
      {model_kind::ckpt, "checkpoints"},
      {model_kind::unclip_ckpt, "checkpoints"},
      {model_kind::text_encoder, "clip"},
      {model_kind::text_encoder, "text_encoders"},
      {model_kind::diffusion_model, "unet"},
      {model_kind::diffusion_model, "diffusion_models"},
      {model_kind::vae, "vae"},
      {model_kind::lora, "loras"},
  };
  for (const auto& [kind, folder] : places) {
    const auto file = put("b/" + std::string(folder) + "/m.safetensors");  // the preferred folder comes second here
    EXPECT_EQ(find(kind, "m.safetensors"), file);
  }
}

TEST_F(model_folders_test, takes_the_first_root_that_has_it) {
  const auto second = put("b/vae/v.st");
  EXPECT_EQ(find(model_kind::vae, "v.st"), second);
  const auto first = put("a/vae/v.st");
  EXPECT_EQ(find(model_kind::vae, "v.st"), first);
}

TEST_F(model_folders_test, finds_names_in_sub_folders_and_shard_indexes) {
  const auto index = put("a/unet/big/model.safetensors.index.json");
  EXPECT_EQ(find(model_kind::diffusion_model, "big/model.safetensors.index.json"), index);
}

TEST_F(model_folders_test, follows_links_to_files_and_folders) {
  put("elsewhere/v.st");
  fs::create_directories(top_ / "a/vae");
  fs::create_symlink(top_ / "elsewhere/v.st", top_ / "a/vae/linked.st");
  fs::create_directory_symlink(top_ / "elsewhere", top_ / "a/vae/more");
  EXPECT_EQ(find(model_kind::vae, "linked.st"), (top_ / "a/vae/linked.st").string());
  EXPECT_EQ(find(model_kind::vae, "more/v.st"), (top_ / "a/vae/more/v.st").string());
}

TEST_F(model_folders_test, refuses_names_that_leave_the_folder) {
  put("a/vae/v.st");
  for (const std::string name : {"../vae/v.st", "/etc/passwd", "", "x/../v.st", "x\\v.st"}) {
    const auto e = refusal(model_kind::vae, name);
    EXPECT_EQ(e.code, errc::bad_argument) << name;
    EXPECT_EQ(e.path, name);
  }
}

TEST_F(model_folders_test, says_where_it_looked_and_what_is_near) {
  put("a/vae/taesd.safetensors");
  put("b/vae/sub/taesdxl.safetensors");
  put("b/checkpoints/taesx.safetensors");
  const auto e = refusal(model_kind::vae, "taesdd.safetensors");
  EXPECT_EQ(e.code, errc::not_found);
  EXPECT_EQ(e.what, "no vae file \"taesdd.safetensors\"; looked in " + (top_ / "a/vae").string() + ", " +
                        (top_ / "b/vae").string() +
                        "; did you mean \"taesd.safetensors\" or \"sub/taesdxl.safetensors\"?");
}

TEST_F(model_folders_test, survives_links_that_lead_in_circles) {
  put("a/vae/sub/near.safetensors");
  fs::create_directory_symlink(top_ / "a/vae", top_ / "a/vae/sub/loop");
  fs::create_symlink("self.safetensors", top_ / "a/vae/self.safetensors");
  const auto e = refusal(model_kind::vae, "sub/nera.safetensors");
  EXPECT_EQ(e.code, errc::not_found);
  EXPECT_NE(e.what.find("\"sub/near.safetensors\""), std::string::npos) << e.what;
  EXPECT_EQ(refusal(model_kind::vae, "self.safetensors").code, errc::io_failed);
}

TEST_F(model_folders_test, bounds_the_search_for_near_names) {
  put("a/vae/v1.st");
  EXPECT_NE(refusal(model_kind::vae, "v2.st").what.find("v1.st"), std::string::npos);
  EXPECT_EQ(refusal(model_kind::vae, "v2.st", {.max_listed_entries = 0}).what.find("v1.st"), std::string::npos);
}

TEST_F(model_folders_test, takes_no_folder_for_a_file) {
  fs::create_directories(top_ / "a/vae/v.st");
  EXPECT_EQ(refusal(model_kind::vae, "v.st").code, errc::not_found);
}

TEST_F(model_folders_test, has_no_folder_for_data) {
  EXPECT_EQ(refusal(model_kind::data, "d.st").code, errc::bad_argument);
  EXPECT_NE(find_model_file({}, model_kind::vae, "v.st").error().what.find("since none was given"), std::string::npos);
}
