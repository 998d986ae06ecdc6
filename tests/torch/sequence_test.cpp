// A streamed sequence: the same numbers as with all weights there, whatever budgets, pressure and failures do.
#include <random>

#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/TensorOperators.h>
#include <c10/util/Exception.h>

#include "app/torch/streamed_sequence.hpp"
#include "gpu/host_device.hpp"
#include "tests/torch/renamed_device.hpp"
#include "tests/torch/torch_models.hpp"
#include "tests/torch/torch_streams.hpp"

namespace longshore {
namespace {

constexpr int64_t width = 128;
constexpr uint64_t weight_bytes = width * width * sizeof(float);

std::string weight_name(uint32_t layer) { return "blocks." + std::to_string(layer) + ".weight"; }
std::string bias_name(uint32_t layer) { return "blocks." + std::to_string(layer) + ".bias"; }

byte_vector random_numbers(size_t count, unsigned seed) {
  std::mt19937 random{seed};
  std::uniform_real_distribution<float> draw{-0.1F, 0.1F};
  std::vector<float> numbers(count);
  for (auto& number : numbers)
    number = draw(random);
  return as_bytes(numbers);
}

/// Ten layers, of which the first and the last share a weight.
class sequence : public testing::Test {
protected:
  static constexpr uint32_t layers = 10;

  sequence() {
    std::vector<typed_tensor> tensors{{"tied", "F32", {width, width}, random_numbers(width * width, 99)}};
    for (uint32_t i = 0; i < layers; ++i) {
      tensors.push_back({weight_name(i), "F32", {width, width}, random_numbers(width * width, i)});
      tensors.push_back({bias_name(i), "F32", {width}, random_numbers(width, 50 + i)});
    }
    path = files.write("m.safetensors", tensors);
    for (uint32_t i = 0; i < layers; ++i)
      wanted.layers.push_back(block(i));
    for (auto* end : {&wanted.layers.front(), &wanted.layers.back()}) {
      end->tensors.push_back({0, "tied"});
      end->run = [run = end->run](const at::Tensor& input, const named_tensors& weights) {
        return run(at::linear(input, weights.at("tied")), weights);
      };
    }
    wanted.sources = {{.files = *find_source({path})}};
  }

  static sequence_layer block(uint32_t i) {
    return {.name = "block " + std::to_string(i),
            .tensors = {{0, weight_name(i)}, {0, bias_name(i)}},
            .run = [i](const at::Tensor& input, const named_tensors& weights) {
              return input + at::gelu(at::linear(input, weights.at(weight_name(i)), weights.at(bias_name(i))));
            }};
  }

  std::unique_ptr<streamed_sequence> streamed(double share) {
    wanted.device_budget_bytes = static_cast<uint64_t>(share * (layers + 1) * (weight_bytes + 1024));
    auto made = streamed_sequence::make(*loader, wanted);
    EXPECT_TRUE(made.has_value()) << to_text(made.error());
    return made ? std::move(*made) : nullptr;
  }

  /// The same functions on weights that are all there.
  at::Tensor resident(at::Tensor input, const std::vector<uint32_t>& order) {
    if (all.empty()) {
      const auto loaded = tensors_of(torch_models::load(*loader, {path}));
      for (const auto& [name, tensor] : *loaded)
        all.emplace(name, tensor.clone());
    }
    for (const auto layer : order)
      input = wanted.layers[layer].run(input, all);
    return input;
  }
  at::Tensor resident(const at::Tensor& input) { return resident(input, every); }

  void expect_right(streamed_sequence& model, int passes = 1) {
    for (int pass = 0; pass < passes; ++pass) {
      const auto input = at::ones({3, width}) * (pass + 1);
      const auto output = model.forward(input);
      ASSERT_TRUE(output.has_value()) << to_text(output.error());
      ASSERT_TRUE(at::equal(*output, resident(input))) << "pass " << pass;
    }
  }

  torch_models files;
  std::string path;
  sequence_request wanted;
  std::shared_ptr<host_device> target = std::make_shared<host_device>();
  std::unique_ptr<runtime> loader = started(target);
  named_tensors all;
  const std::vector<uint32_t> every{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  const at::Tensor ones = at::ones({3, width});
};

class sequence_within : public sequence, public testing::WithParamInterface<double> {};

INSTANTIATE_TEST_SUITE_P(budgets, sequence_within, testing::Values(0.25, 0.5, 0.75, 1),
                         [](const auto& share) { return std::to_string(static_cast<int>(share.param * 100)); });

TEST_P(sequence_within, computes_what_the_resident_model_does) {
  const auto model = streamed(GetParam());
  expect_right(*model, 50);
  const auto status = *model->status();
  EXPECT_LE(status.device_peak_bytes, *wanted.device_budget_bytes);
  EXPECT_EQ(status.counts.passes, 50U);
  if (GetParam() < 1)
    EXPECT_GT(status.counts.moved_bytes, 2 * status.model_bytes);
  else
    EXPECT_EQ(status.counts.moved_bytes, status.model_bytes);
}

TEST_P(sequence_within, computes_the_same_out_of_a_host_copy) {
  wanted.sources.front().copy = torch_models::load(*loader, {path});
  const auto model = streamed(GetParam());
  expect_right(*model, 50);
  EXPECT_EQ(model->status()->disk_bytes, 0U);
}

TEST_F(sequence, goes_on_with_another_budget_and_under_pressure) {
  const auto model = streamed(1);
  expect_right(*model, 10);
  ASSERT_TRUE(model->resize(4 * weight_bytes).has_value());
  EXPECT_LE(model->status()->device_bytes, 4 * weight_bytes);
  expect_right(*model, 10);
  const auto given = model->make_room(2 * weight_bytes);
  ASSERT_TRUE(given.has_value());
  EXPECT_GT(given->freed_bytes, 0U);
  expect_right(*model, 10);
  ASSERT_TRUE(model->resize(20 * weight_bytes).has_value());
  expect_right(*model, 20);
  EXPECT_EQ(model->status()->counts.resident_bytes, model->status()->model_bytes);
}

TEST_F(sequence, takes_pressure_while_a_layer_runs) {
  streamed_sequence* running = nullptr;
  wanted.layers[4].run = [&running, run = wanted.layers[4].run](const auto& input, const auto& weights) {
    if (running) {
      EXPECT_TRUE(running->make_room(uint64_t{1} << 40).has_value());
    }
    return run(input, weights);
  };
  const auto model = streamed(0.75);
  const auto expected_output = resident(ones);
  running = model.get();
  for (int pass = 0; pass < 10; ++pass)
    EXPECT_TRUE(at::equal(*model->forward(ones), expected_output));
}

TEST_F(sequence, skips_layers_and_runs_them_twice) {
  const auto model = streamed(0.4);
  for (const auto& order :
       std::vector<std::vector<uint32_t>>{{0, 9}, every, {0, 1, 1, 2, 2, 3, 9}, {}, {9, 8, 7, 0}, every}) {
    const auto output = model->forward(ones, order);
    ASSERT_TRUE(output.has_value()) << to_text(output.error());
    EXPECT_TRUE(at::equal(*output, resident(ones, order)));
  }
  EXPECT_EQ(model->forward(ones, std::vector<uint32_t>{0, 10}).error().code, errc::bad_argument);
}

TEST_F(sequence, leaves_a_tensor_that_was_kept_as_it_was_even_without_a_runtime) {
  named_tensors kept;
  at::Tensor row;
  wanted.layers[3].run = [&, run = wanted.layers[3].run](const auto& input, const auto& weights) {
    if (kept.empty()) {
      kept = weights;
      row = weights.at(weight_name(3)).select(0, 7);
    }
    return run(input, weights);
  };
  resident(ones, {0});
  auto model = streamed(0.3);
  for (int pass = 0; pass < 5; ++pass)
    ASSERT_TRUE(model->forward(ones).has_value());
  const auto expect_kept = [&] {
    for (const auto& [name, tensor] : kept)
      EXPECT_TRUE(at::equal(tensor, all.at(name))) << name;
    EXPECT_TRUE(at::equal(row, all.at(weight_name(3)).select(0, 7)));
  };
  expect_kept();
  model.reset();
  loader.reset();
  expect_kept();
  kept.clear();
  EXPECT_TRUE(at::equal(row, all.at(weight_name(3)).select(0, 7)));
  EXPECT_GT(target->counts().allocated.now, 0U);
  row.reset();
  EXPECT_EQ(target->counts().allocated.now, 0U);
}

TEST_F(sequence, is_whole_after_a_layer_threw) {
  bool shall_throw = true;
  wanted.layers[5].run = [&, run = wanted.layers[5].run](const auto& input, const auto& weights) {
    if (std::exchange(shall_throw, false))
      throw std::domain_error{"for once"};
    return run(input, weights);
  };
  const auto model = streamed(0.25);
  EXPECT_THROW(static_cast<void>(model->forward(ones)), std::domain_error);
  EXPECT_EQ(model->status()->counts.in_use_bytes, 0U);
  expect_right(*model, 3);
}

/// A sequence whose layer 6 finds no memory so many times.
class sequence_out_of_memory : public sequence {
protected:
  sequence_out_of_memory() {
    wanted.layers[6].run = [this, run = wanted.layers[6].run](const auto& input, const auto& weights) {
      tries_device_bytes.push_back(target->counts().allocated.now);
      if (failures > 0) {
        --failures;
        throw c10::OutOfMemoryError({__func__, __FILE__, __LINE__}, "no memory, for once");
      }
      return run(input, weights);
    };
  }

  int failures = 0;
  std::vector<uint64_t> tries_device_bytes;  // what the device had given, at each try
};

TEST_F(sequence_out_of_memory, frees_weights_and_tries_once_more) {
  const auto model = streamed(1);
  expect_right(*model);
  tries_device_bytes.clear();
  failures = 1;
  const auto output = model->forward(ones);
  ASSERT_TRUE(output.has_value()) << to_text(output.error());
  ASSERT_EQ(tries_device_bytes.size(), 2U);
  EXPECT_LT(tries_device_bytes[1] + 5 * weight_bytes, tries_device_bytes[0]);
  EXPECT_TRUE(at::equal(*output, resident(ones)));
  expect_right(*model, 3);
}

TEST_F(sequence_out_of_memory, passes_on_what_fails_twice_and_is_whole) {
  const auto model = streamed(0.5);
  failures = 2;
  EXPECT_THROW(static_cast<void>(model->forward(ones)), c10::OutOfMemoryError);
  EXPECT_EQ(tries_device_bytes.size(), 2U);
  expect_right(*model, 3);
}

TEST_F(sequence, says_which_layer_could_not_come) {
  const auto model = streamed(0.05);
  const auto output = model->forward(ones);
  ASSERT_FALSE(output.has_value());
  EXPECT_EQ(output.error().code, errc::out_of_budget);
  EXPECT_EQ(output.error().where, "layer block 0");
  ASSERT_TRUE(model->resize(6 * weight_bytes).has_value());
  expect_right(*model);
}

TEST_F(sequence, is_refused_for_what_is_not_there) {
  const auto refusal = [this](const sequence_layer& layer) {
    auto request = wanted;
    request.layers.push_back(layer);
    auto made = streamed_sequence::make(*loader, std::move(request));
    EXPECT_FALSE(made.has_value());
    return made ? error{} : made.error();
  };
  const auto run = wanted.layers.front().run;
  EXPECT_EQ(refusal({"missing", {{0, "nothing"}}, run}).code, errc::bad_argument);
  EXPECT_EQ(refusal({"twice", {{0, "tied"}, {0, "tied"}}, run}).code, errc::bad_argument);
  EXPECT_EQ(refusal({"idle", {{0, "tied"}}, nullptr}).where, "layer idle");
  const auto without_device = started();
  EXPECT_EQ(streamed_sequence::make(*without_device, wanted).error().code, errc::unsupported);
}

TEST_F(sequence, casts_on_the_way) {
  wanted.sources.front().cast_to = "BF16";
  wanted.layers = {{.name = "cast",
                    .tensors = {{0, "tied"}},
                    .run = [](const at::Tensor&, const named_tensors& weights) { return weights.at("tied").clone(); }}};
  const auto model = streamed(1);
  resident(ones, {});
  EXPECT_TRUE(at::equal(*model->forward(ones), all.at("tied").to(at::kBFloat16)));
}

/// On a device that torch queues work on.
class sequence_in_stream : public sequence {
protected:
  /// Layers that compute nothing: there is nothing that this device could compute with.
  void SetUp() override {
    loader = started(device);
    for (auto& layer : wanted.layers)
      layer.run = [](const at::Tensor& input, const named_tensors&) { return input; };
    torch_streams::all().take_marked();
    torch_streams::all().take_waits();
  }
  void TearDown() override { torch_streams::all().finish_at_waits(false); }

  static void run(streamed_sequence& model, const std::vector<uint32_t>& order) {
    const auto output = model.forward(at::ones({1}), order);
    ASSERT_TRUE(output.has_value()) << to_text(output.error());
  }

  std::shared_ptr<renamed_device> device = std::make_shared<renamed_device>("privateuseone:1");
};

TEST_F(sequence_in_stream, layers_hold_their_place_until_their_work_is_over) {
  const auto model = streamed(1);
  run(*model, {1, 2});
  EXPECT_EQ(torch_streams::all().take_marked(), (std::vector<int64_t>{torch_streams::current, torch_streams::current}));
  EXPECT_EQ(torch_streams::all().take_waits(), 0);
  EXPECT_GE(model->status()->counts.in_use_bytes, 2 * weight_bytes);
  torch_streams::all().finish();
  run(*model, {3});
  EXPECT_EQ(torch_streams::all().take_waits(), 1) << "for the oldest, as two may be queued";
  EXPECT_LT(model->status()->counts.in_use_bytes, 3 * weight_bytes);
  torch_streams::all().finish();
}

TEST_F(sequence_in_stream, a_layer_without_room_waits_for_the_work_that_has_it) {
  torch_streams::all().finish_at_waits(true);
  wanted.queued_layers_most = layers;
  run(*streamed(1), every);
  EXPECT_EQ(torch_streams::all().take_waits(), static_cast<int>(layers)) << "at the end alone";
  const auto model = streamed(0.3);
  run(*model, every);
  EXPECT_GT(torch_streams::all().take_waits(), 0);
}

TEST_F(sequence_in_stream, a_kept_tensor_waits_for_the_stream_when_it_goes) {
  at::Tensor kept;
  wanted.layers[1].run = [&](const at::Tensor& input, const named_tensors& weights) {
    kept = weights.at(weight_name(1));
    return input;
  };
  auto model = streamed(1);
  run(*model, {1});
  EXPECT_EQ(kept.device(), (at::Device{at::kPrivateUse1, 1}));
  torch_streams::all().finish();
  model.reset();
  loader.reset();
  torch_streams::all().take_marked();
  kept.reset();
  EXPECT_EQ(torch_streams::all().take_marked(), std::vector<int64_t>{torch_streams::current});
  EXPECT_GT(device->counts().allocated.now, 0U) << "work that was queued may still use the memory";
  torch_streams::all().finish();
  EXPECT_TRUE(comes_true([this] { return device->counts().allocated.now == 0; }));
}

}  // namespace
}  // namespace longshore
