// Chunks through the uploader to a real host device: the right bytes at the right place, and what fails.
#include <atomic>
#include <cstring>

#include <gtest/gtest.h>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/send.hpp>

#include "actors/calling_thread.hpp"
#include "actors/gpu_uploader.hpp"
#include "gpu/host_device.hpp"
#include "messages/upload.hpp"

namespace longshore {
namespace {

struct system_config : caf::actor_system_config {
  system_config() { set("scheduler.policy", caf::atom("sharing")); }
};

/// A file's bytes with tiny tensors between large ones, and where they shall lie on the device.
struct made_up_file {
  static constexpr uint64_t chunk_bytes = 1 << 20;

  made_up_file() {
    uint64_t at = 0;
    for (int i = 0; i < 400; ++i) {
      const uint64_t length = i % 100 == 50 ? 700'001 : 13 + static_cast<uint64_t>(i) * 37 % 5000;
      header.tensors.push_back({.name = "t" + std::to_string(i),
                                .type = dtype::U8,
                                .shape = {length},
                                .begin_bytes = at,
                                .end_bytes = at + length});
      at += length;
    }
    header.data_begin_bytes = 1000;
    bytes = std::make_shared<std::vector<std::byte>>(header.data_begin_bytes + at);
    for (size_t i = 0; i < bytes->size(); ++i)
      (*bytes)[i] = static_cast<std::byte>(i * 31 + i / 255);
  }

  safetensors_header header;
  std::shared_ptr<std::vector<std::byte>> bytes;
};

/// What became of the chunks of one file.
struct outcome {
  size_t uploaded = 0;
  std::vector<error> failed;
};

outcome upload_all(const made_up_file& file, const caf::actor& uploader, caf::actor_system& system,
                   const device_layout& layout, device_address base) {
  const calling_thread self{system};
  uint32_t chunks = 0;
  for (uint64_t at = 0; at < file.bytes->size(); at += made_up_file::chunk_bytes, ++chunks) {
    const auto length = std::min(made_up_file::chunk_bytes, file.bytes->size() - at);
    self->send(uploader, upload_chunk{.load = 7,
                                      .index = chunks,
                                      .source = file.bytes->data() + at,
                                      .plan = layout.plan(at, length, base),
                                      .memory = file.bytes});
  }
  outcome all;
  for (uint32_t i = 0; i < chunks; ++i)
    self->receive([&](const chunk_uploaded&) { ++all.uploaded; },
                  [&](const upload_failed& f) { all.failed.push_back(f.reason); });
  return all;
}

void expect_tensors(const made_up_file& file, const device_layout& layout, device_address base) {
  for (size_t i = 0; i < file.header.tensors.size(); ++i) {
    const auto& tensor = file.header.tensors[i];
    const auto* there = reinterpret_cast<const std::byte*>(base + layout.offset_bytes(i));
    const auto* here = file.bytes->data() + file.header.data_begin_bytes + tensor.begin_bytes;
    ASSERT_EQ(std::memcmp(there, here, tensor.size_bytes()), 0) << tensor.name;
  }
}

TEST(gpu_uploader, brings_each_tensor_to_its_place) {
  const made_up_file file;
  system_config config;
  caf::actor_system system{config};
  const auto target = std::make_shared<host_device>(host_device_options{.check_sources = true});
  const device_layout layout{file.header};
  const auto base = target->allocate(layout.total_bytes()).value();
  const auto uploader = spawn_gpu_uploader(system, target, {.scratch_bytes = made_up_file::chunk_bytes});
  const auto all = upload_all(file, uploader, system, layout, base);
  EXPECT_EQ(all.uploaded, file.bytes->size() / made_up_file::chunk_bytes + 1);
  EXPECT_TRUE(all.failed.empty());
  expect_tensors(file, layout, base);
  EXPECT_EQ(file.bytes.use_count(), 1) << "what is uploaded is let go of";
  caf::anon_send_exit(uploader, caf::exit_reason::user_shutdown);
}

/// Fails the call of this kind and number, and no other.
device_script failing(device_operation kind, uint64_t number, std::atomic<bool>& reached) {
  return [=, &reached](const device_call& call) -> std::optional<error> {
    if (call.kind != kind || call.number != number)
      return std::nullopt;
    reached = true;
    return error{.code = errc::io_failed, .what = "made to fail"};
  };
}

void fail_each_call(const made_up_file& file, device_operation kind) {
  for (uint64_t number = 0;; ++number) {
    SCOPED_TRACE(number);
    std::atomic<bool> reached = false;
    // Before the system, which outlives the actors in it: the memory of copies that nobody knows the end of ends last.
    auto target = std::make_shared<host_device>(host_device_options{.script = failing(kind, number, reached)});
    {
      system_config config;
      caf::actor_system system{config};
      const device_layout layout{file.header};
      const auto base = target->allocate(layout.total_bytes());
      if (!base)
        continue;
      const auto uploader = spawn_gpu_uploader(system, target, {.scratch_bytes = made_up_file::chunk_bytes});
      const auto all = upload_all(file, uploader, system, layout, *base);
      EXPECT_EQ(all.uploaded + all.failed.size(), file.bytes->size() / made_up_file::chunk_bytes + 1);
      EXPECT_EQ(all.failed.empty(), !reached);
      for (const auto& reason : all.failed)
        EXPECT_EQ(reason.what, "made to fail");
      caf::anon_send_exit(uploader, caf::exit_reason::user_shutdown);
    }
    target.reset();
    EXPECT_EQ(file.bytes.use_count(), 1);
    if (!reached)
      return;
  }
}

TEST(gpu_uploader, answers_each_chunk_whatever_fails) {
  const made_up_file file;
  for (auto kind : {device_operation::make_stream, device_operation::allocate, device_operation::queue_copy,
                    device_operation::run_copy, device_operation::queue_kernel, device_operation::run_kernel,
                    device_operation::queue_mark})
    fail_each_call(file, kind);
}

}  // namespace
}  // namespace longshore
