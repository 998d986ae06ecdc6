// What disks and files do wrong: exact bytes in the end, or the right typed error that says where.
#include <cerrno>

#include "tests/actors/actor_fixture.hpp"
#include "tests/actors/file_changes.hpp"
#include "tests/actors/refused_allocation.hpp"

namespace longshore {
namespace {

using std::chrono::seconds;

class faults : public testing::Test {
protected:
  /// Loads with a fault from `script`, and lets the reader's pauses pass.
  model_answer load_with(fault_script script, const get_model& wanted) {
    actor_world world;
    world.disk.script = std::move(script);
    const auto asked = world.get(wanted);
    world.run();
    for (int i = 0; i < 10; ++i)
      world.advance(seconds{1});
    EXPECT_EQ(asked->answers.size(), 1U);
    auto answer = asked->answers.at(0);
    asked->answers.clear();
    EXPECT_TRUE(answer.lease || world.used_bytes() == 0);
    return answer;
  }

  /// A fault for each attempt at the chunk that begins at `offset`, `times` times.
  static fault_script at_offset(uint64_t offset, int times, fault what) {
    return [=](const read_request& read, uint64_t) mutable -> fault {
      return read.offset_bytes == offset && times-- > 0 ? what : no_fault{};
    };
  }

  static constexpr uint64_t chunk_bytes = 16384;
  static constexpr size_t data_bytes = 100'000;
  model_files files;
  const std::string path = files.write("m", data_bytes, 1);
  const get_model request = files.request("m", {path});
};

TEST_F(faults, what_passes_gives_exact_bytes_at_every_chunk) {
  const std::vector<fault> passing{short_read{1},       short_read{4096},     short_read{chunk_bytes - 1},
                                   failing_read{EINTR}, failing_read{EAGAIN}, failing_read{EBUSY},
                                   failing_read{ENOMEM}};
  for (const auto& what : passing)
    for (uint64_t offset = 0; offset < fs::file_size(path); offset += chunk_bytes)
      for (int times : {1, 8}) {
        const auto answer = load_with(at_offset(offset, times, what), request);
        ASSERT_TRUE(files.holds_right_bytes(answer)) << offset << " " << what.index() << " " << to_text(answer.reason);
      }
}

TEST_F(faults, every_read_short_still_gives_exact_bytes) {
  for (uint64_t most : {1000U, 4096U, 5000U, 16383U}) {
    const auto always = [=](const read_request&, uint64_t) -> fault { return short_read{most}; };
    EXPECT_TRUE(files.holds_right_bytes(load_with(always, request))) << most;
  }
}

TEST_F(faults, what_stays_is_an_error_with_path_offset_and_errno_at_every_chunk) {
  for (int code : {EIO, EINTR, EAGAIN, ENODEV})
    for (uint64_t offset = 0; offset < fs::file_size(path); offset += chunk_bytes) {
      const auto answer = load_with(at_offset(offset, 1000, failing_read{code}), request);
      ASSERT_FALSE(answer.lease);
      EXPECT_EQ(answer.reason.code, errc::io_failed);
      EXPECT_EQ(answer.reason.os_error, code);
      EXPECT_EQ(answer.reason.offset_bytes, offset);
      EXPECT_EQ(answer.reason.path, path);
    }
}

TEST_F(faults, an_early_end_is_never_a_success) {
  for (uint64_t offset = 0; offset < fs::file_size(path); offset += chunk_bytes) {
    const auto answer = load_with(at_offset(offset, 1, short_read{0}), request);
    EXPECT_EQ(answer.reason.code, errc::changed_on_disk);
    EXPECT_EQ(answer.reason.offset_bytes, offset);
    EXPECT_EQ(answer.reason.path, path);
  }
}

TEST_F(faults, a_failed_load_leaves_the_key_free_for_the_next) {
  actor_world world;
  world.disk.script = at_offset(0, 1, failing_read{EIO});
  EXPECT_EQ(world.load(request).reason.code, errc::io_failed);
  EXPECT_TRUE(world.list().entries.empty());
  EXPECT_TRUE(files.holds_right_bytes(world.load(request)));
}

TEST_F(faults, a_direct_read_that_is_refused_comes_through_the_page_cache) {
  actor_world world{{.holder = {.credits = 6,
                                .chunk_bytes = chunk_bytes,
                                .page_cache = page_cache_mode::direct,
                                .open_on_own_thread = false}}};
  world.disk.script = [](const read_request& asked, uint64_t) -> fault {
    return asked.path == read_path::direct ? fault{failing_read{EINVAL}} : fault{no_fault{}};
  };
  const auto answer = world.load(request);
  ASSERT_TRUE(files.holds_right_bytes(answer));
  EXPECT_EQ(answer.lease->model().reports.at(0).direct_bytes, 0U);
  EXPECT_EQ(answer.lease->model().reports.at(0).buffered_bytes, fs::file_size(path));
}

TEST_F(faults, a_direct_load_gives_exact_bytes_also_at_the_uneven_end) {
  actor_world world{{.holder = {.credits = 6,
                                .chunk_bytes = chunk_bytes,
                                .page_cache = page_cache_mode::direct,
                                .open_on_own_thread = false}}};
  EXPECT_TRUE(files.holds_right_bytes(world.load(request)));
}

TEST_F(faults, of_the_header_are_typed) {
  actor_world world;
  const auto torn = files.write_text("torn", std::string("\xff\xff\0\0\0\0\0\0{}", 10));
  EXPECT_EQ(world.load(files.request("torn", {torn})).reason.code, errc::bad_format);
  auto gone = files.request("gone", {files.write("gone", 100, 3)});
  fs::remove(files.path("gone"));
  const auto answer = world.load(gone);
  EXPECT_EQ(answer.reason.code, errc::not_found);
  EXPECT_EQ(answer.reason.path, files.path("gone"));
  EXPECT_EQ(world.used_bytes(), 0U);
}

TEST_F(faults, no_memory_for_the_header_is_an_error_and_not_the_end) {
  constexpr uint64_t header_bytes = 5 << 20;
  std::string huge(8 + header_bytes, ' ');
  for (size_t i = 0; i < 8; ++i)
    huge[i] = static_cast<char>(header_bytes >> (8 * i));
  const auto asked_for = files.request("huge", {files.write_text("huge", huge)});
  actor_world world;
  const auto answer = [&] {
    const refused_allocation no_memory{header_bytes};
    return world.load(asked_for);
  }();
  EXPECT_EQ(answer.reason.code, errc::out_of_budget) << to_text(answer.reason);
  EXPECT_TRUE(files.holds_right_bytes(world.load(request)));
}

TEST_F(faults, a_file_changed_at_any_step_is_never_a_mix) {
  const auto newer = made_model({{"m.a", data_bytes / 2}, {"m.b", 1}, {"m.c", data_bytes - data_bytes / 2 - 1}}, 99);
  for (const auto& change : changes_of_a_file) {
    bool over = false;
    size_t refused = 0;
    for (size_t n = 0; !over; ++n) {
      SCOPED_TRACE(std::string(change.name) + " after " + std::to_string(n) + " events");
      files.write("m", data_bytes, 1);
      actor_world world;
      const auto asked = world.get(files.request("m", {path}));
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
      EXPECT_EQ(world.used_bytes(), 0U);
    }
    EXPECT_GT(refused, 20U) << change.name;
  }
}

TEST_F(faults, a_mapped_file_cut_short_while_it_loads_is_an_error) {
  bool over = false;
  for (size_t n = 0; !over; ++n) {
    SCOPED_TRACE(n);
    files.write("m", data_bytes, 1);
    actor_world world;
    const auto asked = world.get(files.request("m", {path}, hold_choice::mapped));
    over = world.run(n) < n;
    const bool complete = asked->answered();
    fs::resize_file(path, 50'000);
    world.run();
    ASSERT_EQ(asked->answers.size(), 1U);
    EXPECT_TRUE(complete || asked->answers.front().lease ||
                asked->answers.front().reason.code == errc::changed_on_disk);
  }
}

}  // namespace
}  // namespace longshore
