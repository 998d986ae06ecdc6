#include "app/cli/demo_models.hpp"

#include "tests/app/model_reader.hpp"

namespace longshore {
namespace {

TEST(demo_models, writes_what_is_missing_and_keeps_the_rest) {
  const scratch folder;
  const std::set<std::string> names{"checkpoints/sd15-tiny.safetensors", "text_encoders/clip_l.safetensors",
                                    "diffusion_models/sd15-tiny-unet.safetensors", "vae/taesd.safetensors"};
  for (const auto* name : {"checkpoints/sd15-tiny.safetensors", "text_encoders/clip_l.safetensors"}) {
    fs::create_directories(fs::path(folder / name).parent_path());
    std::ofstream(folder / name) << "a user's own";
  }
  uint64_t last = 0, whole = 0;
  const auto made = demo_models(folder / "", [&](uint64_t done, uint64_t total) {
    EXPECT_GT(done, last);
    last = done;
    whole = total;
    return true;
  });
  ASSERT_TRUE(made) << to_text(made.error());
  ASSERT_EQ(made->size(), 2U);
  EXPECT_EQ(last, whole);
  EXPECT_EQ(whole, (*made)[0].tensor_bytes + (*made)[1].tensor_bytes);
  EXPECT_EQ(folder.files(), names);
  EXPECT_EQ(read_all(folder / "text_encoders/clip_l.safetensors"), "a user's own");
  EXPECT_EQ(names_in_order(read_back(folder / "diffusion_models/sd15-tiny-unet.safetensors")).size(), 122U);
  EXPECT_TRUE(read_back(folder / "vae/taesd.safetensors").header.contains("taesd_encoder.0.weight"));
  EXPECT_TRUE(demo_models(folder / "")->empty());
}

TEST(demo_models, stops_when_told) {
  const scratch folder;
  const auto made = demo_models(folder / "", [](uint64_t, uint64_t) { return false; });
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, errc::cancelled);
  EXPECT_TRUE(folder.files().empty());
}

}  // namespace
}  // namespace longshore
