#include "cache/model_kind.hpp"

#include <gtest/gtest.h>

using namespace longshore;

TEST(model_kind, each_name_leads_back_to_its_kind) {
  for (auto kind : all_model_kinds)
    EXPECT_EQ(model_kind_from_name(name(kind)), kind);
  EXPECT_EQ(name(model_kind::unclip_ckpt), "unclip_ckpt");
}

TEST(model_kind, other_words_are_no_kind) {
  for (auto text : {"", "CKPT", "ckpt ", "unknown", "diffusion"})
    EXPECT_EQ(model_kind_from_name(text), std::nullopt) << text;
}
