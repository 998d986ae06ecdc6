#include <atomic>
#include <random>

#include "tests/actors/device_loads.hpp"

namespace longshore {
namespace {

/// Ten layers of about a mebibyte each, one tensor of them below the size that is copied directly.
class weight_stream : public testing::Test {
protected:
  static constexpr uint32_t layers = 10;

  weight_stream() {
    std::vector<made_tensor> tensors;
    for (uint32_t i = 0; i < layers; ++i) {
      tensors.push_back({"layer" + std::to_string(i) + ".weight", mebibyte - 4096 * i});
      tensors.push_back({"layer" + std::to_string(i) + ".bias", 333 + i});
    }
    path = files.write("model", tensors, 7);
    wanted.sources = {{.files = files.request("model", {path}).source}};
    for (uint32_t i = 0; i < layers; ++i) {
      const auto name = "layer" + std::to_string(i);
      wanted.layers.push_back({name, {{0, name + ".weight"}, {0, name + ".bias"}}});
    }
  }

  std::unique_ptr<streamed_model> streamed(runtime& loader, uint64_t budget_bytes) {
    wanted.device_budget_bytes = budget_bytes;
    auto made = loader.stream(wanted);
    EXPECT_TRUE(made.has_value()) << to_text(made.error());
    return made ? std::move(*made) : nullptr;
  }

  /// What the device has at a use's addresses are the file's bytes; a host device's memory can be looked at.
  void expect_right(streamed_model& model, uint32_t layer) {
    const auto use = model.acquire(layer);
    ASSERT_TRUE(use.has_value()) << to_text(use.error());
    const auto header = read_header_of(path);
    const auto& tensors = model.plan().layers[layer].tensors;
    ASSERT_EQ((*use)->addresses().size(), tensors.size());
    for (size_t i = 0; i < tensors.size(); ++i) {
      const auto& info = *std::find_if(header.tensors.begin(), header.tensors.end(),
                                       [&](const auto& t) { return t.name == tensors[i].info.name; });
      const auto* expected = files.content(path).data() + header.data_begin_bytes + info.begin_bytes;
      const auto* found = reinterpret_cast<const std::byte*>((*use)->addresses()[i]);
      EXPECT_TRUE(std::equal(found, found + info.size_bytes(), expected)) << info.name;
    }
  }

  static safetensors_header read_header_of(const std::string& of) {
    const auto source = find_source({of});
    return *open_model(source->files.front())->header;
  }

  void expect_right_passes(streamed_model& model, int passes) {
    for (int pass = 0; pass < passes; ++pass) {
      model.begin_pass();
      for (uint32_t layer = 0; layer < layers; ++layer)
        expect_right(model, layer);
    }
  }

  model_files files;
  std::string path;
  stream_request wanted;
  std::shared_ptr<host_device> target = std::make_shared<host_device>();
};

TEST_F(weight_stream, a_model_that_fits_moves_once) {
  const auto loader = started(with(target));
  const auto model = streamed(*loader, 16 * mebibyte);
  expect_right_passes(*model, 3);
  const auto status = *model->status();
  EXPECT_EQ(status.counts.moved_bytes, status.model_bytes);
  EXPECT_EQ(status.counts.resident_bytes, status.model_bytes);
}

TEST_F(weight_stream, a_model_that_does_not_fit_streams_from_the_disk) {
  const auto loader = started(with(target));
  const auto model = streamed(*loader, 4 * mebibyte);
  expect_right_passes(*model, 4);
  const auto status = *model->status();
  EXPECT_LE(target->counts().allocated.most, 4 * mebibyte + mebibyte);  // and the uploader's scratch memory
  EXPECT_GT(status.counts.moved_bytes, 3 * status.model_bytes / 2);
  EXPECT_LE(status.counts.moved_bytes, 4 * status.model_bytes + 4 * mebibyte);
  EXPECT_GE(status.disk_bytes, status.counts.moved_bytes - layers * 2 * device::alignment_bytes);
}

TEST_F(weight_stream, layers_come_out_of_a_host_copy) {
  for (const auto hold : {hold_choice::owned, hold_choice::pinned, hold_choice::mapped}) {
    const auto loader = started(with(target));
    auto lease = loader->load(files.request("model", {path}, hold));
    ASSERT_TRUE(lease.has_value()) << to_text(lease.error());
    wanted.sources.front().copy = lease->lease;
    const auto model = streamed(*loader, 4 * mebibyte);
    expect_right_passes(*model, 3);
    EXPECT_EQ(model->status()->disk_bytes, 0U);
    wanted.sources.front().copy = nullptr;
  }
}

TEST_F(weight_stream, pins_that_are_short_go_to_what_streams) {
  auto options = with(target);
  options.holder.pin_segment_bytes = mebibyte;
  options.pin_budget_bytes = 12 * mebibyte;  // 8 of staging at most
  const auto loader = started(options);
  auto lease = loader->load(files.request("model", {path}, hold_choice::pinned));
  ASSERT_TRUE(lease.has_value()) << to_text(lease.error());
  wanted.sources.front().copy = lease->lease;
  const auto model = streamed(*loader, 6 * mebibyte);
  expect_right_passes(*model, 6);
  EXPECT_LE(target->counts().registered.most, 12 * mebibyte);
  EXPECT_EQ(model->status()->disk_bytes, 0U);
}

TEST_F(weight_stream, any_order_and_any_overlap_of_uses_is_served) {
  const auto loader = started(with(target));
  const auto model = streamed(*loader, 4 * mebibyte);
  std::mt19937 random{5};
  for (int i = 0; i < 200; ++i) {
    if (random() % 10 == 0)
      model->begin_pass();
    const auto held = random() % 2 == 0 ? model->acquire(random() % layers) : std::shared_ptr<layer_use>{};
    expect_right(*model, random() % layers);
  }
}

TEST_F(weight_stream, a_layer_that_does_not_fit_beside_those_in_use_is_refused) {
  const auto loader = started(with(target));
  const auto model = streamed(*loader, 2 * mebibyte + mebibyte / 2);
  const auto first = model->acquire(0), second = model->acquire(1);
  ASSERT_TRUE(first.has_value() && second.has_value());
  const auto third = model->acquire(2);
  ASSERT_FALSE(third.has_value());
  EXPECT_EQ(third.error().code, errc::out_of_budget);
  EXPECT_EQ(third.error().where, "layer layer2");
  (*second)->end(nullptr);
  expect_right(*model, 2);
}

TEST_F(weight_stream, another_budget_in_mid_run) {
  const auto loader = started(with(target));
  const auto model = streamed(*loader, 16 * mebibyte);
  expect_right_passes(*model, 1);
  const auto shrunk = model->resize(3 * mebibyte);
  ASSERT_TRUE(shrunk.has_value());
  EXPECT_GE(shrunk->freed_bytes, 6 * mebibyte);
  EXPECT_LE(target->counts().allocated.now, 4 * mebibyte);
  expect_right_passes(*model, 2);
  ASSERT_TRUE(model->resize(16 * mebibyte).has_value());
  expect_right_passes(*model, 2);
  EXPECT_EQ(model->status()->counts.resident_bytes, model->status()->model_bytes);
}

TEST_F(weight_stream, the_model_in_use_takes_room_from_the_other) {
  target = std::make_shared<host_device>(host_device_options{.capacity_bytes = 12 * mebibyte});
  const auto loader = started(with(target));
  const auto first = streamed(*loader, 11 * mebibyte), second = streamed(*loader, 11 * mebibyte);
  for (int turn = 0; turn < 3; ++turn) {
    expect_right_passes(*first, 2);
    EXPECT_EQ(first->status()->counts.resident_bytes, first->status()->model_bytes);
    expect_right_passes(*second, 2);
    EXPECT_EQ(second->status()->counts.resident_bytes, second->status()->model_bytes);
  }
}

TEST_F(weight_stream, a_device_with_less_room_than_was_said_does_with_it) {
  target = std::make_shared<host_device>(host_device_options{.capacity_bytes = 6 * mebibyte});
  const auto loader = started(with(target));
  const auto model = streamed(*loader, 11 * mebibyte);
  expect_right_passes(*model, 3);
}

TEST_F(weight_stream, an_allocation_that_fails_costs_no_result) {
  std::atomic<int> calls{0};
  target =
      std::make_shared<host_device>(host_device_options{.script = [&](const device_call& call) -> std::optional<error> {
        if (call.kind == device_operation::allocate && ++calls % 3 == 0)
          return error{.code = errc::out_of_budget, .what = "the device is full for once"};
        return std::nullopt;
      }});
  const auto loader = started(with(target));
  const auto model = streamed(*loader, 5 * mebibyte);
  expect_right_passes(*model, 3);
}

TEST_F(weight_stream, what_is_expected_comes_without_taking_from_others) {
  target = std::make_shared<host_device>(host_device_options{.capacity_bytes = 16 * mebibyte});
  const auto loader = started(with(target));
  const auto first = streamed(*loader, 11 * mebibyte), second = streamed(*loader, 11 * mebibyte);
  expect_right_passes(*second, 1);
  expect_right_passes(*first, 2);
  const auto before = first->status()->counts.resident_bytes;
  second->expect_pass();
  EXPECT_GT(second->status()->counts.resident_bytes, 2 * mebibyte);
  EXPECT_EQ(first->status()->counts.resident_bytes, before);
  expect_right_passes(*second, 1);
}

TEST_F(weight_stream, a_user_on_the_device_waits_there) {
  const auto loader = started(with(target));
  const auto model = streamed(*loader, 4 * mebibyte);
  const auto compute = target->make_stream();
  std::vector<uint64_t> sums(3 * layers);
  for (size_t i = 0; i < sums.size(); ++i) {
    if (i % layers == 0)
      model->begin_pass();
    const auto layer = static_cast<uint32_t>(i % layers);
    const auto use = model->acquire(layer, true);
    ASSERT_TRUE(use.has_value()) << to_text(use.error());
    if ((*use)->ready()) {
      ASSERT_TRUE(target->wait_event(*compute, (*use)->ready()->id()).has_value());
    }
    ASSERT_TRUE(target
                    ->checksum(*compute, (*use)->addresses()[0],
                               model->plan().layers[layer].tensors[0].info.size_bytes(), &sums[i])
                    .has_value());
    (*use)->end(*device_event::record(target, *compute));
  }
  const auto computed = wait_for(*target, *compute);
  ASSERT_TRUE(computed.has_value()) << to_text(computed.error());
  for (size_t i = layers; i < sums.size(); ++i)
    EXPECT_EQ(sums[i], sums[i - layers]);
  EXPECT_NE(sums[0], sums[1]);
}

TEST_F(weight_stream, what_is_asked_for_must_be_there) {
  const auto loader = started(with(target));
  wanted.layers[3].tensors.push_back({0, "nothing"});
  const auto made = loader->stream(wanted);
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(made.error().code, errc::bad_argument);
  EXPECT_THAT(made.error().what, testing::HasSubstr("layer3"));
  EXPECT_THAT(made.error().what, testing::HasSubstr("nothing"));
}

TEST_F(weight_stream, after_the_runtime_no_layer_comes) {
  auto loader = started(with(target));
  const auto model = streamed(*loader, 4 * mebibyte);
  expect_right(*model, 0);
  ASSERT_TRUE(loader->stop().has_value());
  auto use = model->acquire(9);
  ASSERT_FALSE(use.has_value());
  EXPECT_EQ(use.error().code, errc::stopped);
}

}  // namespace
}  // namespace longshore
