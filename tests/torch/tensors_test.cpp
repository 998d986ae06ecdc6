// A model's tensors in torch: every type, every odd shape, where they lie, and what is refused.
#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>

#include "gpu/host_device.hpp"
#include "tests/torch/renamed_device.hpp"
#include "tests/torch/torch_models.hpp"

namespace longshore {
namespace {

struct type_row {
  const char* name;
  at::ScalarType in_torch;
  size_t element_bytes;
};

constexpr type_row type_rows[] = {
    {"U64", at::kUInt64, 8},
    {"I64", at::kLong, 8},
    {"F64", at::kDouble, 8},
    {"C64", at::kComplexFloat, 8},
    {"F32", at::kFloat, 4},
    {"U32", at::kUInt32, 4},
    {"I32", at::kInt, 4},
    {"BF16", at::kBFloat16, 2},
    {"F16", at::kHalf, 2},
    {"U16", at::kUInt16, 2},
    {"I16", at::kShort, 2},
    {"F8_E5M2FNUZ", at::kFloat8_e5m2fnuz, 1},
    {"F8_E4M3FNUZ", at::kFloat8_e4m3fnuz, 1},
    {"F8_E8M0", at::kFloat8_e8m0fnu, 1},
    {"F8_E4M3", at::kFloat8_e4m3fn, 1},
    {"F8_E5M2", at::kFloat8_e5m2, 1},
    {"I8", at::kChar, 1},
    {"U8", at::kByte, 1},
};

byte_vector bytes_of(const at::Tensor& tensor) {
  EXPECT_TRUE(tensor.is_contiguous());
  const auto* data = static_cast<const std::byte*>(tensor.const_data_ptr());
  return {data, data + tensor.nbytes()};
}

template <class... Bytes>
byte_vector some_bytes(Bytes... bytes) {
  return {static_cast<std::byte>(bytes)...};
}

class tensors : public testing::Test {
protected:
  model_lease_ptr lease_on(const std::vector<typed_tensor>& made) {
    return torch_models::load(*loader, {files.write("m.safetensors", made)});
  }

  /// Expects a tensor that is refused, by name and for this reason.
  void expect_unsupported(const typed_tensor& made, const std::string& reason) {
    const auto lease = lease_on({made});
    const auto all = tensors_of(lease);
    ASSERT_FALSE(all.has_value());
    EXPECT_EQ(all.error().code, errc::unsupported);
    EXPECT_EQ(all.error().where, made.name);
    EXPECT_EQ(all.error().path, lease->model().files.at(0)->path());
    EXPECT_NE(all.error().what.find(reason), std::string::npos) << all.error().what;
    EXPECT_EQ(tensor_of(lease, made.name).error(), all.error());
  }

  torch_models files;
  std::unique_ptr<runtime> loader = started(std::make_shared<host_device>());
};

class tensors_held : public tensors, public testing::WithParamInterface<hold_choice> {};

INSTANTIATE_TEST_SUITE_P(in_every_way, tensors_held, testing::ValuesIn(hold_choices), hold_name);

TEST_P(tensors_held, have_the_bytes_of_the_file_in_every_type) {
  std::vector<typed_tensor> made;
  for (const auto& row : type_rows)
    made.push_back({row.name, row.name, {3, 5}, made_bytes(15 * row.element_bytes, made.size())});
  made.push_back({"BOOL", "BOOL", {2, 2}, some_bytes(0, 1, 1, 0)});
  made.push_back({"F4", "F4", {3, 6}, made_bytes(9, 99)});
  const auto lease = torch_models::load(*loader, {files.write("m.safetensors", made)}, GetParam());
  const auto all = tensors_of(lease);
  ASSERT_TRUE(all.has_value()) << to_text(all.error());
  ASSERT_EQ(all->size(), made.size());
  for (const auto& tensor : made) {
    EXPECT_EQ(bytes_of(all->at(tensor.name)), tensor.bytes) << tensor.name;
    EXPECT_EQ(tensor_of(lease, tensor.name)->const_data_ptr(), all->at(tensor.name).const_data_ptr()) << tensor.name;
    EXPECT_TRUE(all->at(tensor.name).is_cpu());
  }
  for (const auto& row : type_rows) {
    EXPECT_EQ(all->at(row.name).scalar_type(), row.in_torch) << row.name;
    EXPECT_EQ(all->at(row.name).sizes(), (at::IntArrayRef{3, 5})) << row.name;
  }
  EXPECT_EQ(all->at("BOOL").scalar_type(), at::kBool);
  EXPECT_EQ(all->at("F4").scalar_type(), at::kFloat4_e2m1fn_x2);
  EXPECT_EQ(all->at("F4").sizes(), (at::IntArrayRef{3, 3})) << "an element of torch's is a pair";
}

TEST_P(tensors_held, make_a_layer_that_computes_as_from_other_memory) {
  auto weights = some_numbers(6 * 4, -7), bias = some_numbers(6, 1);
  const auto path = files.write("m.safetensors", {{"linear.weight", "F32", {6, 4}, as_bytes(weights)},
                                                  {"linear.bias", "F32", {6}, as_bytes(bias)}});
  const auto all = tensors_of(torch_models::load(*loader, {path}, GetParam()));
  ASSERT_TRUE(all.has_value()) << to_text(all.error());
  const auto input = at::ones({3, 4});
  const auto computed = at::linear(input, all->at("linear.weight"), all->at("linear.bias"));
  EXPECT_TRUE(
      at::equal(computed, at::linear(input, at::from_blob(weights.data(), {6, 4}), at::from_blob(bias.data(), {6}))));
  for (int row = 0; row < 6; ++row)  // and by hand: the numbers of a row follow one another
    EXPECT_EQ(computed[0][row].item<int>(), 4 * (row * 4 - 7) + 6 + row + 1);
}

TEST_F(tensors, that_were_cast_on_the_way_have_the_type_that_they_have_there) {
  const auto path = files.write(
      "m.safetensors", {{"a", "F32", {2, 3}, as_bytes(some_numbers(6, 1))}, {"b", "I8", {3}, made_bytes(3, 1)}});
  const auto all = tensors_of(torch_models::load(*loader, {path}, hold_choice::device, "BF16"));
  ASSERT_TRUE(all.has_value()) << to_text(all.error());
  EXPECT_EQ(all->at("a").scalar_type(), at::kBFloat16);
  EXPECT_EQ(all->at("a").sizes(), (at::IntArrayRef{2, 3}));
  EXPECT_EQ(all->at("a").sum().item<float>(), 21);
  EXPECT_EQ(bytes_of(all->at("b")), made_bytes(3, 1));
}

TEST_F(tensors, lie_where_the_model_does) {
  const auto lease = lease_on({{"a", "F32", {4}, made_bytes(16, 1)}, {"b", "F16", {2, 2}, made_bytes(8, 2)}});
  const auto& file = *lease->model().files.at(0);
  const auto all = tensors_of(lease);
  ASSERT_TRUE(all.has_value()) << to_text(all.error());
  EXPECT_EQ(all->at("a").const_data_ptr(), file.bytes_of(*file.find("a")).data());
  EXPECT_EQ(all->at("b").const_data_ptr(), file.bytes_of(*file.find("b")).data());
}

TEST_F(tensors, may_be_scalars_or_empty) {
  const float number = 2.5;
  byte_vector bytes(sizeof number);
  std::memcpy(bytes.data(), &number, sizeof number);
  const auto lease =
      lease_on({{"scalar", "F32", {}, bytes}, {"none", "I64", {0}, {}}, {"flat", "F8_E4M3", {2, 0, 3}, {}}});
  const auto all = tensors_of(lease);
  ASSERT_TRUE(all.has_value()) << to_text(all.error());
  EXPECT_EQ(all->at("scalar").dim(), 0);
  EXPECT_EQ(all->at("scalar").item<float>(), 2.5);
  EXPECT_EQ(all->at("none").sizes(), (at::IntArrayRef{0}));
  EXPECT_EQ(all->at("flat").sizes(), (at::IntArrayRef{2, 0, 3}));
  EXPECT_EQ(all->at("flat").numel(), 0);
}

TEST_F(tensors, at_odd_addresses_are_copied_and_their_neighbours_are_not) {
  const auto lease = lease_on({{"odd", "U8", {3}, made_bytes(3, 1)},
                               {"copied", "F32", {5}, made_bytes(20, 2)},
                               {"late", "U8", {1}, made_bytes(1, 3)},
                               {"aligned", "F64", {2}, made_bytes(16, 4)}});
  const auto& file = *lease->model().files.at(0);
  const auto all = tensors_of(lease);
  ASSERT_TRUE(all.has_value()) << to_text(all.error());
  EXPECT_EQ(bytes_of(all->at("copied")), made_bytes(20, 2));
  EXPECT_NE(all->at("copied").const_data_ptr(), file.bytes_of(*file.find("copied")).data());
  EXPECT_EQ(all->at("aligned").const_data_ptr(), file.bytes_of(*file.find("aligned")).data());
  for (const auto& [name, tensor] : *all)
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.const_data_ptr()) % tensor.element_size(), 0U) << name;
}

TEST_F(tensors, of_types_that_torch_lacks_are_refused_by_name) {
  expect_unsupported({"six", "F6_E2M3", {4}, made_bytes(3, 1)}, "F6_E2M3");
  expect_unsupported({"too", "F6_E3M2", {2, 2}, made_bytes(3, 1)}, "F6_E3M2");
  expect_unsupported({"half", "F4", {2, 3}, made_bytes(3, 1)}, "pairs");
}

TEST_F(tensors, of_shapes_past_63_bits_are_refused) {
  expect_unsupported({"a", "U8", {0, uint64_t{1} << 63}, {}}, "too large");
  expect_unsupported({"b", "U8", {0, uint64_t{1} << 40, uint64_t{1} << 40}, {}}, "too large");
}

TEST_F(tensors, beside_one_that_is_refused_can_be_had_one_by_one) {
  const auto lease = lease_on({{"good", "F32", {2}, made_bytes(8, 1)}, {"six", "F6_E2M3", {4}, made_bytes(3, 2)}});
  EXPECT_FALSE(tensors_of(lease).has_value());
  const auto good = tensor_of(lease, "good");
  ASSERT_TRUE(good.has_value()) << to_text(good.error());
  EXPECT_EQ(bytes_of(*good), made_bytes(8, 1));
}

TEST_F(tensors, that_the_model_does_not_have_are_not_found) {
  const auto lease = lease_on({{"a", "U8", {1}, made_bytes(1, 1)}});
  EXPECT_EQ(tensor_of(lease, "b").error().code, errc::not_found);
  EXPECT_EQ(tensor_of(lease, "b").error().where, "b");
  EXPECT_EQ(tensors_of(lease, {.file = 1}).error().code, errc::not_found);
  EXPECT_EQ(tensors_of(lease, {.place = tier::device}).error().code, errc::not_found);
}

TEST_F(tensors, of_one_name_in_two_files_are_told_apart_by_the_file) {
  const std::vector<std::string> paths{
      files.write("l.safetensors", {{"shared", "U8", {2}, some_bytes(1, 2)}, {"l", "U8", {1}, some_bytes(3)}}),
      files.write("g.safetensors", {{"shared", "U8", {2}, some_bytes(4, 5)}, {"g", "U8", {1}, some_bytes(6)}})};
  const auto lease = torch_models::load(*loader, paths);
  const auto all = tensors_of(lease);
  ASSERT_FALSE(all.has_value());
  EXPECT_EQ(all.error().code, errc::bad_argument);
  EXPECT_EQ(all.error().where, "shared");
  EXPECT_EQ(tensor_of(lease, "shared").error(), all.error());
  EXPECT_EQ(bytes_of(*tensor_of(lease, "g")), some_bytes(6));
  EXPECT_EQ(bytes_of(*tensor_of(lease, "shared", {.file = 0})), some_bytes(1, 2));
  EXPECT_EQ(bytes_of(tensors_of(lease, {.file = 1})->at("shared")), some_bytes(4, 5));
}

TEST_F(tensors, of_a_model_in_several_files_come_together) {
  const std::vector<std::string> paths{files.write("1.safetensors", {{"a", "U8", {1}, some_bytes(1)}}),
                                       files.write("2.safetensors", {{"b", "U8", {1}, some_bytes(2)}})};
  for (const auto hold : {hold_choice::owned, hold_choice::device}) {
    const auto all = tensors_of(torch_models::load(*loader, paths, hold));
    ASSERT_TRUE(all.has_value()) << to_text(all.error());
    EXPECT_EQ(bytes_of(all->at("a")), some_bytes(1));
    EXPECT_EQ(bytes_of(all->at("b")), some_bytes(2));
    EXPECT_EQ(all->size(), 2U);
  }
}

TEST_F(tensors, on_a_device_that_this_torch_does_not_know_are_refused) {
  const auto path = files.write("m.safetensors", {{"a", "U8", {1}, some_bytes(1)}});
  for (const auto* name : {"hpu:0", "elsewhere"}) {
    const auto other = started(std::make_shared<renamed_device>(name));
    const auto refused = tensors_of(torch_models::load(*other, {path}, hold_choice::device));
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, errc::unsupported);
    EXPECT_NE(refused.error().what.find(name), std::string::npos) << refused.error().what;
  }
}

}  // namespace
}  // namespace longshore
