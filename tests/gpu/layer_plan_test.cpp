// Plans of layers: each tensor of each layer in a unit of that layer, and of the file no more than has to be read.
#include "gpu/layer_plan.hpp"

#include <algorithm>
#include <numeric>
#include <set>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

using namespace longshore;

namespace {

layer_file file_of(const std::vector<std::pair<std::string, uint64_t>>& tensors, uint32_t source = 0) {
  auto header = std::make_shared<safetensors_header>();
  header->data_begin_bytes = 1000;
  uint64_t at = 0;
  for (const auto& [name, bytes] : tensors) {
    header->tensors.push_back({name, dtype::U8, {bytes}, at, at + bytes});
    at += bytes;
  }
  return {.source = source, .path = "file", .header = header};
}

TEST(layer_plan, puts_tensors_of_the_same_layers_into_one_unit) {
  const auto plan = plan_layers({file_of({{"tied", 300}, {"a", 10}, {"b", 20}, {"c", 30}})},
                                {{"first", {{0, "b"}, {0, "a"}, {0, "tied"}}}, {"last", {{0, "c"}, {0, "tied"}}}});
  ASSERT_TRUE(plan.has_value());
  ASSERT_EQ(plan->units.size(), 3U);
  const auto& first = plan->layers[0].tensors;
  EXPECT_EQ(first[0].info.name, "b") << "in the order of the layer";
  EXPECT_EQ(first[0].unit, first[1].unit);
  EXPECT_EQ(first[1].offset_bytes, 0U) << "in the order of the file";
  EXPECT_EQ(first[0].offset_bytes, device::alignment_bytes);
  EXPECT_EQ(first[2].unit, plan->layers[1].tensors[1].unit);
  EXPECT_EQ(largest_layer_bytes(shape_of(*plan)), 4 * device::alignment_bytes);
}

TEST(layer_plan, cuts_units_at_tensors_and_lets_a_large_one_be) {
  const auto plan = plan_layers({file_of({{"a", 60}, {"b", 60}, {"c", 500}, {"d", 10}})},
                                {{"all", {{0, "a"}, {0, "b"}, {0, "c"}, {0, "d"}}}}, {.unit_bytes = 100});
  ASSERT_TRUE(plan.has_value());
  const auto& tensors = plan->layers[0].tensors;
  EXPECT_EQ(plan->units.size(), 4U);
  EXPECT_NE(tensors[0].unit, tensors[1].unit);
}

TEST(layer_plan, reads_over_small_gaps_only) {
  const auto file = file_of({{"a", 10}, {"x", 50}, {"b", 10}, {"y", 500}, {"c", 10}, {"none", 0}});
  const auto plan = plan_layers({file}, {{"l", {{0, "a"}, {0, "b"}, {0, "c"}, {0, "none"}}}}, {.gap_bytes = 100});
  ASSERT_TRUE(plan.has_value());
  ASSERT_EQ(plan->units.size(), 1U);
  EXPECT_EQ(plan->units[0].ranges, (std::vector<byte_range>{{1000, 1070}, {1570, 1580}}));
}

TEST(layer_plan, says_what_no_file_has_and_what_is_named_twice) {
  const auto unknown = plan_layers({file_of({{"a", 1}})}, {{"l", {{1, "a"}}}});
  ASSERT_FALSE(unknown.has_value());
  EXPECT_EQ(unknown.error().code, errc::bad_argument);
  const auto twice = plan_layers({file_of({{"a", 1}})}, {{"l", {{0, "a"}, {0, "a"}}}});
  ASSERT_FALSE(twice.has_value());
  EXPECT_NE(twice.error().what.find("twice"), std::string::npos);
}

RC_GTEST_PROP(layer_plan, places_each_tensor_once_and_covers_its_bytes, ()) {
  const auto count = *rc::gen::inRange<uint32_t>(1, 30);
  std::vector<std::pair<std::string, uint64_t>> tensors;
  for (uint32_t i = 0; i < count; ++i)
    tensors.emplace_back("t" + std::to_string(i), *rc::gen::inRange<uint64_t>(0, 2000));
  std::vector<layer_spec> layers(*rc::gen::inRange<size_t>(1, 6));
  for (auto& layer : layers)
    for (const auto& tensor : tensors)
      if (*rc::gen::arbitrary<bool>())
        layer.tensors.push_back({0, tensor.first});
  const layer_plan_options options{.unit_bytes = *rc::gen::inRange<uint64_t>(1, 5000),
                                   .gap_bytes = *rc::gen::inRange<uint64_t>(0, 2000)};
  const auto file = file_of(tensors);
  const auto plan = plan_layers({file}, layers, options);
  RC_ASSERT(plan.has_value());
  for (size_t l = 0; l < layers.size(); ++l) {
    const std::set<unit_id> units(plan->layers[l].units.begin(), plan->layers[l].units.end());
    RC_ASSERT(units.size() == plan->layers[l].units.size());
    RC_ASSERT(plan->layers[l].tensors.size() == layers[l].tensors.size());
    for (size_t i = 0; i < layers[l].tensors.size(); ++i) {
      const auto& placed = plan->layers[l].tensors[i];
      RC_ASSERT(placed.info.name == layers[l].tensors[i].name);
      RC_ASSERT(units.contains(placed.unit));
      const auto& unit = plan->units[placed.unit];
      RC_ASSERT(placed.offset_bytes + placed.info.size_bytes() <= unit.layout.total_bytes());
      const auto& in_file = *std::find_if(file.header->tensors.begin(), file.header->tensors.end(),
                                          [&](const auto& t) { return t.name == placed.info.name; });
      const auto begin = 1000 + in_file.begin_bytes, end = 1000 + in_file.end_bytes;
      RC_ASSERT(begin == end || std::any_of(unit.ranges.begin(), unit.ranges.end(), [&](const auto& range) {
                  return range.begin_bytes <= begin && end <= range.end_bytes;
                }));
    }
  }
  for (const auto& unit : plan->units)
    for (size_t i = 1; i < unit.ranges.size(); ++i)
      RC_ASSERT(unit.ranges[i - 1].end_bytes + options.gap_bytes < unit.ranges[i].begin_bytes);
}

}  // namespace
