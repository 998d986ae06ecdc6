// Loads by real actors to a CUDA device over a double of CUDA: every call that can fail is made to fail at every point
// of a load, every piece of queued work too, and slots that are reused too early are noticed.
#include <set>

#include <gmock/gmock.h>

#include "actors/runtime.hpp"
#include "gpu/cuda_device.hpp"
#include "tests/actors/model_files.hpp"
#include "tests/gpu/cuda_double.hpp"

namespace longshore {
namespace {

using testing::Contains;
using testing::Each;
using testing::Eq;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr uint64_t mebibyte = 1 << 20;
constexpr const char* never_registered = "a copy from or to memory never registered";
constexpr const char* changed_source = "a source changed before its copy ran";

/// What a load does not need: tests/gpu/cuda_fault_test.cpp makes these fail.
const std::set<std::string> not_in_a_load{"stream_wait_event", "event_query", "cast", "checksum_words"};

/// A device that says of all work at once that it is over: whoever believes it reuses a slot before its copy has run.
class hasty_device final : public device {
public:
  explicit hasty_device(std::shared_ptr<device> inner) : inner_(std::move(inner)) {}

  std::string name() const override { return inner_->name(); }
  expected<device_memory> memory() const override { return inner_->memory(); }
  expected<device_address> allocate(uint64_t bytes) override { return inner_->allocate(bytes); }
  void free(device_address address) override { inner_->free(address); }
  expected<void> register_host(std::byte* address, uint64_t bytes) override {
    return inner_->register_host(address, bytes);
  }
  expected<void> unregister_host(std::byte* address) override { return inner_->unregister_host(address); }
  expected<stream_id> make_stream() override { return inner_->make_stream(); }
  void destroy_stream(stream_id stream) override { inner_->destroy_stream(stream); }
  expected<void> copy_to_device(stream_id stream, const std::byte* source, device_address destination,
                                uint64_t bytes) override {
    return inner_->copy_to_device(stream, source, destination, bytes);
  }
  expected<void> copy_to_host(stream_id stream, device_address source, std::byte* destination,
                              uint64_t bytes) override {
    return inner_->copy_to_host(stream, source, destination, bytes);
  }
  expected<void> scatter(stream_id stream, device_address packed, std::span<const scatter_piece> pieces) override {
    return inner_->scatter(stream, packed, pieces);
  }
  expected<void> cast(stream_id stream, const cast_request& request) override { return inner_->cast(stream, request); }
  expected<void> checksum(stream_id stream, device_address source, uint64_t bytes, uint64_t* result) override {
    return inner_->checksum(stream, source, bytes, result);
  }
  expected<event_id> record_event(stream_id stream) override { return inner_->record_event(stream); }
  expected<void> wait_event(stream_id stream, event_id event) override { return inner_->wait_event(stream, event); }
  expected<bool> event_is_over(event_id event) const override { return inner_->event_is_over(event); }
  void destroy_event(event_id event) override { inner_->destroy_event(event); }
  expected<void> when_over(stream_id, device_completion completion) override {
    completion({});
    return {};
  }

private:
  std::shared_ptr<device> inner_;
};

expected<std::shared_ptr<device>> device_over(const cuda_double& cuda) {
  return make_cuda_device(cuda.table(), {.index = 0, .checksums_most = 4}).map([](auto made) {
    return std::shared_ptr<device>(std::move(made));
  });
}

expected<std::unique_ptr<runtime>> runtime_for(std::shared_ptr<device> target,
                                               std::optional<uint64_t> pin_budget_bytes = {}) {
  return runtime::start({.host_limit_bytes = 64 * mebibyte,
                         .warm_bytes = 0,
                         .holder = {.chunk_bytes = mebibyte},
                         .target = std::move(target),
                         .staging_bytes = 4 * mebibyte,
                         .pin_budget_bytes = pin_budget_bytes,
                         .device_is_shared = false});
}

class cuda_loads : public testing::Test {
protected:
  /// A model of large tensors with tiny ones between them, which travel packed.
  get_model request(uint64_t large_bytes, bool host_copy = false) {
    std::vector<made_tensor> tensors{{"first", large_bytes / 2}};
    for (size_t i = 0; i < 40; ++i)
      tensors.push_back({"tiny" + std::to_string(i), 100 + 50 * i});
    tensors.push_back({"last", large_bytes / 2});
    auto wanted = files.request("m", {files.write("m", tensors, large_bytes)}, hold_choice::device);
    wanted.source.files.front().host_copy = host_copy;
    return wanted;
  }

  /// Read through the addresses of the device, as only a double allows.
  bool holds_right_bytes(const model_answer& answer) const {
    const auto& file = *answer.lease->model().device_files.at(0);
    const auto content = std::span{files.content(file.path())};
    const auto data = content.last(file.tensors().back().end_bytes);
    for (size_t i = 0; i < file.tensors().size(); ++i) {
      const auto& tensor = file.tensors()[i];
      const std::span there{reinterpret_cast<const std::byte*>(file.address_of(i)), tensor.size_bytes()};
      if (!same_bytes(there, data.subspan(tensor.begin_bytes, tensor.size_bytes())))
        return false;
    }
    return true;
  }

  /// Loads; a load that is refused is refused with the failure that was asked for, one that is not has the right bytes.
  bool load_well(runtime& loader, const get_model& wanted, const std::string& failure) const {
    const auto answer = loader.load(wanted);
    if (answer) {
      EXPECT_TRUE(holds_right_bytes(*answer));
    } else {
      EXPECT_THAT(to_text(answer.error()), HasSubstr(failure));
    }
    return answer.has_value();
  }

  static void expect_all_given_back(const cuda_double& cuda) {
    EXPECT_EQ(cuda.alive(), (cuda_double::counts{0, 0, 0, 0}));
  }

  model_files files;
};

TEST_F(cuda_loads, bring_every_byte_from_slots_that_are_reused_and_give_all_back) {
  cuda_double cuda;
  auto loader = *runtime_for(*device_over(cuda));
  const auto wanted = request(20 * mebibyte);
  EXPECT_TRUE(load_well(*loader, wanted, ""));
  EXPECT_LE(loader->staging()->pinned_peak_bytes, 4 * mebibyte);
  EXPECT_TRUE(loader->stop());
  loader.reset();
  expect_all_given_back(cuda);
  EXPECT_THAT(cuda.complaints(), IsEmpty());
  for (const auto& name : cuda_double::names())
    EXPECT_EQ(cuda.calls_of(name) == 0, not_in_a_load.contains(name)) << name;
}

TEST_F(cuda_loads, that_reuse_a_slot_before_its_copy_has_run_are_noticed) {
  cuda_double cuda;
  auto loader = *runtime_for(std::make_shared<hasty_device>(*device_over(cuda)));
  cuda.hold();
  EXPECT_TRUE(loader->load(request(20 * mebibyte)));
  cuda.finish();
  EXPECT_THAT(cuda.complaints(), Contains(Eq(changed_source)));
}

TEST_F(cuda_loads, from_memory_that_was_never_page_locked_arrive_and_are_noticed) {
  cuda_double cuda;
  auto loader = *runtime_for(*device_over(cuda), 0);
  EXPECT_TRUE(load_well(*loader, request(6 * mebibyte), ""));
  EXPECT_THAT(cuda.complaints(), Not(IsEmpty()));
  EXPECT_THAT(cuda.complaints(), Each(Eq(never_registered)));
}

/// Of a call by its name, in a load through slots or (true) by way of a page-locked host copy.
class cuda_loads_with_a_fault : public cuda_loads, public testing::WithParamInterface<std::tuple<std::string, bool>> {
protected:
  /// A load, and another after it: the failure of one call spoils one load at most, if not the device or the runtime.
  void load_twice(const cuda_double& cuda, const get_model& wanted, const std::string& failure) const {
    const auto target = device_over(cuda);
    auto loader = target.and_then([](const auto& made) { return runtime_for(made); });
    if (!loader) {
      EXPECT_THAT(to_text(loader.error()), HasSubstr(failure));
      return;
    }
    const bool went_well = load_well(**loader, wanted, failure);
    EXPECT_TRUE(load_well(**loader, wanted, failure) || went_well) << "both loads failed";
    EXPECT_TRUE((*loader)->stop());
  }
};

std::vector<std::string> calls_of_a_load() {
  auto names = cuda_double::names();
  std::erase_if(names, [](const auto& name) { return not_in_a_load.contains(name); });
  return names;
}

INSTANTIATE_TEST_SUITE_P(calls, cuda_loads_with_a_fault,
                         testing::Combine(testing::ValuesIn(calls_of_a_load()), testing::Bool()), [](const auto& of) {
                           return std::get<0>(of.param) + (std::get<1>(of.param) ? "_with_host_copy" : "");
                         });

TEST_P(cuda_loads_with_a_fault, end_well_or_say_so_and_give_all_back) {
  constexpr uint64_t calls_most = 1000;
  const auto& [call, host_copy] = GetParam();
  const auto wanted = request(3 * mebibyte, host_copy);
  uint64_t number = 0;
  for (bool reached = true; reached && number < calls_most; ++number) {
    SCOPED_TRACE(call + " " + std::to_string(number));
    cuda_double cuda;
    cuda.fail_call(call, number);
    load_twice(cuda, wanted, "CUDA error 999");
    expect_all_given_back(cuda);
    // Where page-locking is refused, ordinary memory has to do.
    const bool may_copy_unregistered = call == "host_register" || call == "set_device";
    for (const auto& complaint : cuda.complaints())
      EXPECT_TRUE(may_copy_unregistered && complaint == never_registered) << complaint;
    reached = cuda.has_failed();
  }
  EXPECT_GT(number, 1U);
  EXPECT_LT(number, calls_most);
}

// After a failure on the device CUDA refuses everything, so no load can succeed any more; but each must end.
TEST_F(cuda_loads, end_with_an_error_at_each_failing_piece_of_work_and_give_all_back) {
  const auto wanted = request(3 * mebibyte);
  uint64_t number = 0;
  for (bool reached = true; reached; ++number) {
    SCOPED_TRACE(number);
    cuda_double cuda;
    cuda.fail_work(number);
    auto loader = *runtime_for(*device_over(cuda));
    const bool went_well = load_well(*loader, wanted, "CUDA error 700");
    EXPECT_NE(went_well, cuda.has_failed());
    EXPECT_TRUE(loader->stop());
    loader.reset();
    expect_all_given_back(cuda);
    EXPECT_THAT(cuda.complaints(), IsEmpty());
    reached = cuda.has_failed();
  }
  EXPECT_GT(number, 5U);
}

}  // namespace
}  // namespace longshore
