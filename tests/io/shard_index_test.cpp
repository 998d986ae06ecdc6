// The shard index: what is read, what is refused and with which pointer, and whether index and files agree.
#include "io/shard_index.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "io/relative_name.hpp"

using namespace longshore;

namespace {

using name_lists = std::vector<std::vector<std::string_view>>;

shard_index three_tensors() {
  return {.total_size_bytes = std::nullopt, .files = {"1.st", "2.st"}, .weight_map = {{"a", 0}, {"b", 1}, {"c", 0}}};
}

error refusal(std::string_view json, index_limits limits = {}) {
  const auto index = parse_shard_index(json, "m.index.json", limits);
  return index ? error{.what = "accepted"} : index.error();
}

error disagreement(const name_lists& names) {
  const auto checked = check_shards(three_tensors(), "m.index.json", names);
  return checked ? error{.what = "agreed"} : checked.error();
}

}  // namespace

TEST(shard_index, reads_files_in_the_order_of_first_use) {
  const auto index = parse_shard_index(
      R"({"metadata":{"total_size":18446744073709551615,"other":[{}]},"x":{"weight_map":[]},
          "weight_map":{"z/~":"m-2.safetensors","a":"sub/m-1.safetensors","b":"m-2.safetensors"}})",
      "m.index.json");
  ASSERT_TRUE(index.has_value()) << to_text(index.error());
  EXPECT_EQ(index->total_size_bytes, 18446744073709551615u);
  EXPECT_EQ(index->files, (std::vector<std::string>{"m-2.safetensors", "sub/m-1.safetensors"}));
  const std::vector<std::pair<std::string, uint32_t>> wanted{{"z/~", 0}, {"a", 1}, {"b", 0}};
  EXPECT_EQ(index->weight_map, wanted);
}

TEST(shard_index, needs_no_metadata) {
  const auto index = parse_shard_index(R"({"weight_map":{"":"f"}})", "m.index.json");
  ASSERT_TRUE(index.has_value());
  EXPECT_EQ(index->total_size_bytes, std::nullopt);
}

TEST(shard_index, refuses_with_the_pointer_of_what_is_wrong) {
  struct wrong_index {
    const char* json;
    const char* where;
    const char* message;
  };
  const wrong_index cases[] = {
      {"", "", "found the end"},
      {"[]", "", "must be an object"},
      {"{", "", "not valid JSON"},
      {"{}", "/weight_map", "no weight_map"},
      {R"({"weight_map":{}})", "/weight_map", "names no tensor"},
      {R"({"weight_map":[]})", "/weight_map", "found an array"},
      {R"({"weight_map":null})", "/weight_map", "found null"},
      {R"({"weight_map":{"a":1}})", "/weight_map/a", "must be a string, found a whole number"},
      {R"({"weight_map":{"a/b~":["f"]}})", "/weight_map/a~1b~0", "found an array"},
      {R"({"weight_map":{"a":"f","b":"f","a":"f"}})", "/weight_map/a", "stands twice"},
      {R"({"weight_map":{"a":"f","\u0061":"g"}})", "/weight_map/a", "stands twice"},
      {R"({"weight_map":{"a":"f"},"weight_map":{"b":"f"}})", "/weight_map", "stands twice"},
      {R"({"metadata":{},"metadata":{},"weight_map":{"b":"f"}})", "/metadata", "stands twice"},
      {R"({"metadata":3})", "/metadata", "found a whole number"},
      {R"({"metadata":{"total_size":"8"}})", "/metadata/total_size", "found a string"},
      {R"({"metadata":{"total_size":-8}})", "/metadata/total_size", "negative"},
      {R"({"metadata":{"total_size":{}}})", "/metadata/total_size", "found an object"},
      {R"({"metadata":{"total_size":1,"total_size":1}})", "/metadata/total_size", "stands twice"},
      {R"({"weight_map":{"a":""}})", "/weight_map/a", "must not be empty"},
      {R"({"weight_map":{"a":"/etc/f"}})", "/weight_map/a", "must be relative"},
      {R"({"weight_map":{"a":"../f"}})", "/weight_map/a", "must not leave"},
      {R"({"weight_map":{"a":"x/../../f"}})", "/weight_map/a", "must not leave"},
      {R"({"weight_map":{"a":"x\\f"}})", "/weight_map/a", "backslash"},
      {R"({"weight_map":{"a":"f\u0000.st"}})", "/weight_map/a", "NUL"},
      {R"({"weight_map":{"a":"./f"}})", "/weight_map/a", "steps"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.json);
    const auto e = refusal(c.json);
    EXPECT_EQ(e.code, errc::bad_format);
    EXPECT_EQ(e.path, "m.index.json");
    EXPECT_EQ(e.where, c.where);
    EXPECT_NE(e.what.find(c.message), std::string::npos) << e.what;
  }
  EXPECT_EQ(refusal(std::string(R"({"weight_map":{"a\u0000":"f"}})")).code, errc::bad_format);
}

TEST(shard_index, keeps_its_limits) {
  const std::string json = R"({"weight_map":{"a":"f","b":"g"}})";
  EXPECT_EQ(refusal(json, {.max_index_bytes = json.size(), .max_files = 2, .max_depth = 2}).what, "accepted");
  EXPECT_NE(refusal(json, {.max_index_bytes = json.size() - 1}).what.find("bytes, more than"), std::string::npos);
  EXPECT_EQ(refusal(json, {.max_files = 1}).where, "/weight_map/b");
  EXPECT_NE(refusal(json, {.max_depth = 1}).what.find("nest more than 1"), std::string::npos);
}

TEST(shard_index, agrees_with_files_that_hold_what_it_says) {
  EXPECT_EQ(disagreement({{"c", "a"}, {"b"}}).what, "agreed");
}

TEST(shard_index, names_the_tensor_on_which_index_and_files_disagree) {
  struct wrong_files {
    name_lists names;
    const char* where;
    const char* message;
  };
  const wrong_files cases[] = {
      {{{"a", "c"}, {}}, "b", "2.st lacks a tensor"},
      {{{"a", "c"}, {"b", "x"}}, "x", "2.st holds a tensor that the index does not name"},
      {{{"a", "c"}, {"b", "a"}}, "a", "in two files, 1.st and 2.st"},
      {{{"a"}, {"b", "c"}}, "c", "the index says 1.st, but the tensor is in 2.st"},
      {{{}, {}}, "a", "1.st lacks"},
  };
  for (const auto& c : cases) {
    const auto e = disagreement(c.names);
    EXPECT_EQ(e.code, errc::bad_format);
    EXPECT_EQ(e.path, "m.index.json");
    EXPECT_EQ(e.where, c.where);
    EXPECT_NE(e.what.find(c.message), std::string::npos) << e.what;
  }
}

RC_GTEST_PROP(shard_index_property, any_one_change_to_matching_files_is_noticed, ()) {
  shard_index index{.total_size_bytes = std::nullopt, .files = {"0", "1", "2"}, .weight_map = {}};
  const auto placed = *rc::gen::nonEmpty(rc::gen::container<std::vector<uint32_t>>(rc::gen::inRange<uint32_t>(0, 3)));
  for (size_t i = 0; i < placed.size(); ++i)
    index.weight_map.emplace_back("t" + std::to_string(i), placed[i]);
  name_lists names(3);
  for (const auto& [name, file] : index.weight_map)
    names[file].push_back(name);
  RC_ASSERT(check_shards(index, "i", names).has_value());
  const auto victim = *rc::gen::inRange<size_t>(0, placed.size());
  const std::string_view name = index.weight_map[victim].first;
  auto moved = names;
  std::erase(moved[placed[victim]], name);
  RC_ASSERT(check_shards(index, "i", moved).error().where == name);
  moved[(placed[victim] + 1) % 3].push_back(name);
  RC_ASSERT(check_shards(index, "i", moved).error().where == name);
  names[*rc::gen::inRange<size_t>(0, 3)].push_back(name);
  RC_ASSERT(check_shards(index, "i", names).error().where == name);
}

TEST(relative_name, allows_names_below_a_folder_in_one_spelling) {
  for (auto good : {"a", "a.safetensors", "sub/a", "..a", "a..", "...", "a b", ".hidden", "é"})
    EXPECT_EQ(relative_name_flaw(good), "") << good;
  for (auto bad : {"", "/", "/a", "a/", "a//b", ".", "..", "./a", "a/.", "a/..", "a/../b", "..\\a", "a\\b"})
    EXPECT_NE(relative_name_flaw(bad), "") << bad;
}
