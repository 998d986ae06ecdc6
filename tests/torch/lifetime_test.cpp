// How long the memory behind tensors lasts: views, the runtime's end, streams with work queued, many threads.
#include <thread>

#include <ATen/core/Tensor.h>
#include <c10/core/Stream.h>

#include "gpu/host_device.hpp"
#include "tests/torch/renamed_device.hpp"
#include "tests/torch/torch_models.hpp"
#include "tests/torch/torch_streams.hpp"

namespace longshore {
namespace {

class lifetime : public testing::Test {
protected:
  std::string write_numbers() const {
    return files.write("m.safetensors", {{"a", "F32", {4, 8}, as_bytes(some_numbers(32, 0))},
                                         {"b", "F32", {8}, as_bytes(some_numbers(8, 100))}});
  }

  torch_models files;
};

class lifetime_held : public lifetime, public testing::WithParamInterface<hold_choice> {};

INSTANTIATE_TEST_SUITE_P(in_every_way, lifetime_held, testing::ValuesIn(hold_choices), hold_name);

TEST_P(lifetime_held, of_the_memory_is_that_of_the_last_view_even_without_a_runtime) {
  auto loader = started(std::make_shared<host_device>());
  auto lease = torch_models::load(*loader, {write_numbers()}, GetParam());
  auto row = tensor_of(lease, "a")->select(0, 3).slice(0, 2, 6);
  lease.reset();
  loader.reset();
  EXPECT_EQ(row.sum().item<float>(), 26 + 27 + 28 + 29);
}

TEST_P(lifetime_held, of_the_lease_ends_with_the_last_view) {
  auto loader = started(std::make_shared<host_device>());
  auto lease = torch_models::load(*loader, {write_numbers()}, GetParam());
  auto all = tensors_of(lease);
  ASSERT_TRUE(all.has_value()) << to_text(all.error());
  lease.reset();
  auto row = all->at("a").select(0, 1);
  all->erase("a");
  EXPECT_EQ(leases_of(*loader), 1U);
  all->clear();
  EXPECT_EQ(leases_of(*loader), 1U) << "the view is left";
  row.reset();
  EXPECT_EQ(leases_of(*loader), 0U);
  EXPECT_TRUE(loader->stop().has_value());
}

TEST_F(lifetime, of_the_lease_ends_although_a_copied_tensor_lives) {
  auto loader = started();
  const auto path = files.write(
      "m.safetensors", {{"odd", "U8", {1}, made_bytes(1, 1)}, {"copied", "F32", {2}, as_bytes(some_numbers(2, 5))}});
  const auto copied = tensor_of(torch_models::load(*loader, {path}), "copied");
  EXPECT_EQ(leases_of(*loader), 0U);
  EXPECT_EQ(copied->sum().item<float>(), 11);
}

TEST_F(lifetime, of_the_lease_is_not_prolonged_by_a_refusal) {
  auto loader = started();
  const auto path =
      files.write("m.safetensors", {{"a", "U8", {1}, made_bytes(1, 1)}, {"six", "F6_E2M3", {4}, made_bytes(3, 1)}});
  EXPECT_FALSE(tensors_of(torch_models::load(*loader, {path})).has_value());
  EXPECT_EQ(leases_of(*loader), 0U);
}

/// Tensors on a device on which torch queues work.
class stream_lifetime : public lifetime {
protected:
  void SetUp() override {
    torch_streams::all().take_marked();
    lease = torch_models::load(*loader, {write_numbers()}, hold_choice::device);
  }

  /// Drops all, with work queued, then lets that work be over.
  void expect_lease_until_over(expected<named_tensors> all) {
    ASSERT_TRUE(all.has_value()) << to_text(all.error());
    lease.reset();
    all->clear();
    EXPECT_EQ(leases_of(*loader), 1U) << "work that was queued may still use the memory";
    torch_streams::all().finish();
    EXPECT_TRUE(comes_true([this] { return leases_of(*loader) == 0; }));
  }

  const c10::Device device{c10::DeviceType::PrivateUse1, 1};
  std::unique_ptr<runtime> loader = started(std::make_shared<renamed_device>("privateuseone:1"));
  model_lease_ptr lease;
};

TEST_F(stream_lifetime, tensors_lie_in_the_devices_memory) {
  auto all = tensors_of(lease);
  ASSERT_TRUE(all.has_value()) << to_text(all.error());
  const auto& file = *lease->model().device_files.at(0);
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    const auto& tensor = all->at(file.tensors()[i].name);
    EXPECT_EQ(tensor.device(), device);
    EXPECT_EQ(reinterpret_cast<device_address>(tensor.const_data_ptr()), file.address_of(i));
  }
  expect_lease_until_over(std::move(all));
}

TEST_F(stream_lifetime, the_lease_waits_for_the_callers_stream) {
  const c10::Stream mine{c10::Stream::UNSAFE, device, 7};
  expect_lease_until_over(tensors_of(lease, {.stream = &mine}));
  EXPECT_EQ(torch_streams::all().take_marked(), std::vector<c10::StreamId>{7}) << "once, not once a tensor";
}

TEST_F(stream_lifetime, the_lease_waits_for_the_current_stream_when_none_is_named) {
  expect_lease_until_over(tensors_of(lease));
  EXPECT_EQ(torch_streams::all().take_marked(), std::vector<c10::StreamId>{torch_streams::current});
}

TEST_F(stream_lifetime, a_stream_of_another_device_is_refused) {
  const c10::Stream other{c10::Stream::UNSAFE, {c10::DeviceType::PrivateUse1, 0}, 7};
  EXPECT_EQ(tensors_of(lease, {.stream = &other}).error().code, errc::bad_argument);
}

TEST_F(lifetime, of_tensors_taken_and_dropped_by_many_threads_is_right) {
  auto loader = started();
  const auto path = write_numbers();
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      for (int round = 0; round < 50; ++round) {
        const auto all = tensors_of(torch_models::load(*loader, {path}));
        ASSERT_TRUE(all.has_value()) << to_text(all.error());
        EXPECT_EQ(all->at("b").sum().item<float>(), 828);
      }
    });
  for (auto& thread : threads)
    thread.join();
  EXPECT_EQ(leases_of(*loader), 0U);
}

}  // namespace
}  // namespace longshore
