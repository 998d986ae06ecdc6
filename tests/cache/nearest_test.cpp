// The hint behind an unknown name: what is near, in which order, and that hostile names cost little.
#include "cache/nearest.hpp"

#include <algorithm>
#include <numeric>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

using namespace longshore;
using names = std::vector<std::string>;

namespace {

/// The distance by its definition, with the whole table: slow, and plainly right.
size_t table_distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i)
    for (size_t j = 0; j <= b.size(); ++j) {
      d[i][j] = i == 0 ? j : i;
      if (i == 0 || j == 0)
        continue;
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0u : 1u)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  return d[a.size()][b.size()];
}

std::string word() { return *rc::gen::container<std::string>(rc::gen::elementOf(std::string("abc"))); }

}  // namespace

TEST(nearest, finds_a_slip_of_one_letter) {
  const names known{"vae_name", "cache_key", "enabled", "description"};
  EXPECT_EQ(nearest("vae_nam", known), names{"vae_name"});
  EXPECT_EQ(nearest("cahce_key", known), names{"cache_key"});
  EXPECT_EQ(nearest("ENABLED", known), names{"enabled"});
}

TEST(nearest, counts_two_swapped_letters_as_one_slip) {
  EXPECT_EQ(nearest("sdlx", names{"sd3", "sdxl"}).front(), "sdxl");
}

TEST(nearest, answers_nothing_when_nothing_is_near) {
  EXPECT_TRUE(nearest("zzzzzz", names{"vae_name", "cache_key"}).empty());
  EXPECT_TRUE(nearest("x", names{"y"}).empty());
  EXPECT_TRUE(nearest("", names{"a"}).empty());
  EXPECT_TRUE(nearest("a", names{}).empty());
}

TEST(nearest, takes_a_longer_name_that_contains_the_wanted_one) {
  EXPECT_EQ(nearest("sd15", names{"sd15-tiny-unet.safetensors", "taesd.safetensors"}),
            names{"sd15-tiny-unet.safetensors"});
  EXPECT_TRUE(nearest("s", names{"sd15-tiny-unet.safetensors"}).empty());
}

TEST(nearest, puts_the_nearest_first_and_equals_in_alphabetical_order) {
  const names known{"model-d", "model-cc", "model-b", "model", "model-b"};
  EXPECT_EQ(nearest("model-a", known), (names{"model-b", "model-d", "model"}));
  EXPECT_EQ(nearest("model-a", known, {.max_results = 1}), names{"model-b"});
}

TEST(nearest, bounds_the_cost_of_long_names) {
  const std::string wanted(1'000'000, 'a');
  const std::string other(1'000'000, 'b');
  EXPECT_TRUE(nearest(wanted, names{other, std::string(400'000, 'c')}).empty());
  auto slip = wanted;
  slip[500'000] = 'x';
  EXPECT_TRUE(nearest(wanted, names{other, slip}) == names{slip});
}

TEST(nearest, says_it_in_words) {
  EXPECT_EQ(did_you_mean("vaes", names{"vae", "vaes1"}), R"(; did you mean "vae" or "vaes1"?)");
  EXPECT_EQ(did_you_mean("abd", names{"aba", "abb", "abc"}), R"(; did you mean "aba", "abb" or "abc"?)");
  EXPECT_EQ(did_you_mean("zzzz", names{"vae"}), "");
}

RC_GTEST_PROP(nearest, agrees_with_the_plain_definition, ()) {
  const auto wanted = word();
  names known;
  for (auto i = *rc::gen::inRange(0, 8); i > 0; --i)
    known.push_back(word());
  const auto found = nearest(wanted, known, {.max_results = 100});
  size_t before = 0;
  for (const auto& name : found) {
    RC_ASSERT(std::count(found.begin(), found.end(), name) == 1);
    RC_ASSERT(table_distance(wanted, name) >= before);
    before = table_distance(wanted, name);
  }
  for (const auto& name : known) {
    const auto longer = std::max(name.size(), wanted.size());
    const auto distance = table_distance(wanted, name);
    const auto contained = wanted.size() >= 3 && name.find(wanted) != std::string::npos;
    const auto near = contained || (distance <= std::max<size_t>(2, longer / 3) && distance < longer);
    RC_ASSERT(near == (std::find(found.begin(), found.end(), name) != found.end()));
  }
}
