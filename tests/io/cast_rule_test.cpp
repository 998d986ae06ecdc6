// What becomes of which tensor.
#include "io/cast_rule.hpp"

#include <gtest/gtest.h>

namespace longshore {
namespace {

dtype after(const cast_rule& rule, const std::string& name, dtype type = dtype::F16) {
  return rule.type_of({.name = name, .type = type, .shape = {}});
}

TEST(cast_rule, of_one_type_is_for_every_float_tensor) {
  const auto rule = cast_rule::parse("F32").value();
  EXPECT_EQ(after(rule, "a"), dtype::F32);
  EXPECT_EQ(after(rule, "", dtype::F8_E4M3), dtype::F32);
  EXPECT_EQ(after(rule, "a", dtype::I64), dtype::I64);
  EXPECT_EQ(after(rule, "a", dtype::F64), dtype::F64) << "nothing is cast from it";
  EXPECT_EQ(after(cast_rule{dtype::BF16}, "a"), dtype::BF16);
}

TEST(cast_rule, of_none_leaves_everything) {
  EXPECT_EQ(after(cast_rule{}, "a"), dtype::F16);
  EXPECT_EQ(after(cast_rule::parse("").value(), "a"), dtype::F16);
}

TEST(cast_rule, of_prefixes_follows_the_longest) {
  const auto rule = cast_rule::parse("model.=F32,model.vae.=BF16,model.v=F8_E5M2").value();
  EXPECT_EQ(after(rule, "model.unet"), dtype::F32);
  EXPECT_EQ(after(rule, "model.vae.x"), dtype::BF16);
  EXPECT_EQ(after(rule, "model.vague"), dtype::F8_E5M2);
  EXPECT_EQ(after(rule, "clip.x"), dtype::F16);
  EXPECT_EQ(after(cast_rule::parse("a=b=F32,=BF16").value(), "a=bc"), dtype::F32) << "names may have the sign too";
  EXPECT_EQ(after(cast_rule::parse("a=F32,=BF16").value(), "bc"), dtype::BF16);
}

TEST(cast_rule, without_a_type_is_refused) {
  for (const auto* text : {"f32", "F64", "a=", "a=F32,", "F32,a=I8", "a.=F16,,b=F32"}) {
    const auto refused = cast_rule::parse(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().code, errc::bad_argument) << text;
  }
}

}  // namespace
}  // namespace longshore
