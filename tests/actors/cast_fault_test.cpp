// What disks and files do wrong while weights are cast: the right bits in the end, or the right typed error.
#include <cerrno>

#include "tests/actors/cast_loads.hpp"
#include "tests/actors/file_changes.hpp"

namespace longshore {
namespace {

using std::chrono::seconds;

/// On the way from the disk and out of the page cache alike.
class cast_faults : public cast_loads, public testing::WithParamInterface<bool> {
protected:
  world_options options() const { return GetParam() ? from_disk() : world_options{}; }

  /// A fault for each read of the chunk's begin, `times` times.
  static fault_script at_offset(uint64_t offset, int times, fault what) {
    return [=](const read_request& read, uint64_t) mutable -> fault {
      return read.offset_bytes <= offset && offset < read.offset_bytes + read.length_bytes && times-- > 0 ? what
                                                                                                          : no_fault{};
    };
  }

  model_answer load_with(fault_script script) {
    actor_world world{options()};
    world.disk.script = std::move(script);
    const auto asked = world.get(request("F32"));
    world.run();
    for (int i = 0; i < 10; ++i)
      world.advance(seconds{1});
    EXPECT_EQ(asked->answers.size(), 1U);
    auto answer = asked->answers.at(0);
    asked->answers.clear();
    EXPECT_TRUE(answer.lease || world.used_bytes() == 0);
    return answer;
  }

  const uint64_t step_bytes = chunk_bytes - overlap_bytes;
};

INSTANTIATE_TEST_SUITE_P(ways, cast_faults, testing::Bool(),
                         [](const auto& param) { return std::string{param.param ? "disk" : "page_cache"}; });

TEST_P(cast_faults, that_pass_leave_the_right_bits) {
  for (const auto& what : {fault{short_read{4096}}, fault{failing_read{EINTR}}})
    for (uint64_t offset = 0; offset < fs::file_size(path); offset += step_bytes)
      ASSERT_TRUE(files.holds_right_bytes(load_with(at_offset(offset, 2, what)))) << offset << " " << what.index();
}

TEST_P(cast_faults, that_stay_are_an_error_with_path_offset_and_errno_at_every_chunk) {
  for (uint64_t offset = 0; offset < fs::file_size(path); offset += step_bytes) {
    const auto answer = load_with(at_offset(offset, 1000, failing_read{EIO}));
    ASSERT_FALSE(answer.lease);
    EXPECT_EQ(answer.reason.code, errc::io_failed);
    EXPECT_EQ(answer.reason.os_error, EIO);
    EXPECT_EQ(answer.reason.path, path);
    EXPECT_LE(answer.reason.offset_bytes.value_or(~uint64_t{0}), offset);
    EXPECT_GT(answer.reason.offset_bytes.value_or(0) + chunk_bytes, offset);
  }
}

TEST_P(cast_faults, an_early_end_is_never_a_success) {
  for (uint64_t offset = 0; offset < fs::file_size(path); offset += step_bytes) {
    const auto answer = load_with(at_offset(offset, 1, short_read{0}));
    EXPECT_EQ(answer.reason.code, errc::changed_on_disk);
    EXPECT_EQ(answer.reason.path, path);
  }
}

TEST_P(cast_faults, a_file_changed_at_any_step_is_never_a_mix) {
  const auto newer = made_model(tensors(50'001), 99);
  for (const auto& change : changes_of_a_file) {
    bool over = false;
    size_t refused = 0;
    for (size_t n = 0; !over; ++n) {
      SCOPED_TRACE(std::string(change.name) + " after " + std::to_string(n) + " events");
      files.write("m", tensors(50'001), 1);
      actor_world world{options()};
      const auto asked = world.get(request("F32"));
      over = world.run(n) < n;
      change.make(path, newer);
      world.run();
      ASSERT_EQ(asked->answers.size(), 1U);
      const auto& answer = asked->answers.front();
      if (answer.lease) {
        EXPECT_TRUE(files.holds_right_bytes(answer));
        continue;
      }
      ++refused;
      EXPECT_TRUE(answer.reason.code == errc::changed_on_disk || answer.reason.code == errc::not_found)
          << to_text(answer.reason);
      EXPECT_EQ(answer.reason.path, path);
      world.outlast_idle_scratch();
      EXPECT_EQ(world.used_bytes(), 0U);
    }
    EXPECT_GT(refused, 20U) << change.name;
  }
}

}  // namespace
}  // namespace longshore
