#include "io/perfetto_writer.hpp"

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/io/decoded_trace.hpp"

using namespace longshore;
using namespace longshore::perfetto;
namespace fs = std::filesystem;

namespace {

class perfetto_file : public testing::Test {
protected:
  void SetUp() override {
    std::string made = testing::TempDir() + "perfetto_XXXXXX";
    ASSERT_NE(::mkdtemp(made.data()), nullptr);
    folder = made;
  }
  void TearDown() override { fs::remove_all(folder); }

  std::string path() const { return folder / "trace"; }

  std::string written(const std::vector<trace_record>& records, perfetto_limits limits = {}) {
    auto writer = perfetto_writer::open(path(), names, limits);
    EXPECT_TRUE(writer.has_value());
    for (const auto& record : records)
      writer->add(record, thread);
    EXPECT_TRUE(writer->finish().has_value());
    return contents();
  }

  std::string contents() const {
    std::ifstream file{path(), std::ios::binary};
    return {std::istreambuf_iterator<char>{file}, {}};
  }

  size_t files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator{folder}, fs::directory_iterator{}));
  }

  fs::path folder;
  trace_names names;
  trace_name_id thread = names.intern("worker 1");
};

}  // namespace

TEST_F(perfetto_file, message_has_its_actors_track_and_says_bytes_sender_wait_and_thread) {
  names.name_subject(trace_subject::actor, 3, "model_holder sd15.safetensors");
  const auto name = names.intern("chunk_read");
  const decoded_trace trace{written({{.start_ns = 5000,
                                      .duration_ns = 700,
                                      .waited_ns = 2500,
                                      .span = 9,
                                      .value = 8u << 20,
                                      .detail = 4,
                                      .subject = 3,
                                      .name = name,
                                      .kind = trace_kind::message}})};
  ASSERT_EQ(trace.events.size(), 2u);
  const auto& begin = trace.events[0];
  EXPECT_EQ(begin.at_ns, 5000u);
  EXPECT_EQ(begin.name, "chunk_read");
  EXPECT_EQ(begin.category, "message");
  EXPECT_EQ(begin.flow, 9u);
  EXPECT_EQ(begin.flow_from, 0u);
  EXPECT_EQ(trace.track_name(begin), "model_holder sd15.safetensors");
  EXPECT_EQ(trace.section_of(begin), "Actors");
  EXPECT_EQ(begin.numbers.at("bytes"), 8u << 20);
  EXPECT_EQ(begin.texts.at("from"), "actor 4");
  EXPECT_EQ(begin.texts.at("waited_us"), std::to_string(2.5));
  EXPECT_EQ(begin.texts.at("thread"), "worker 1");
  EXPECT_EQ(trace.events[1].at_ns, 5700u);
  EXPECT_EQ(trace.events[1].type, event_type::slice_end);
}

TEST_F(perfetto_file, copies_to_the_device_have_lanes_of_their_own_and_name_their_file) {
  names.name_subject(trace_subject::file, 2, "t5xxl.safetensors");
  const auto name = names.intern("copy to the device");
  const auto copy = [&](uint64_t start) {
    return trace_record{
        .start_ns = start, .duration_ns = 10, .value = 4096, .subject = 2, .name = name, .kind = trace_kind::copy};
  };
  const decoded_trace trace{written({copy(10), copy(15)})};
  const auto copies = trace.named("copy to the device");
  ASSERT_EQ(copies.size(), 2u);
  EXPECT_EQ(trace.track_name(copies[0]), "copies to the device 1");
  EXPECT_EQ(trace.track_name(copies[1]), "copies to the device 2");
  EXPECT_EQ(copies[1].texts.at("file"), "t5xxl.safetensors");
}

TEST_F(perfetto_file, overlapping_disk_operations_get_lanes_and_lanes_are_used_again) {
  names.name_subject(trace_subject::file, 2, "t5xxl.safetensors");
  const auto name = names.intern("read direct");
  const auto read = [&](uint64_t start, uint64_t duration, uint8_t os_error) {
    return trace_record{.start_ns = start,
                        .duration_ns = duration,
                        .value = 4096,
                        .detail = 1u << 20,
                        .subject = 2,
                        .name = name,
                        .kind = trace_kind::disk_op,
                        .os_error = os_error};
  };
  const decoded_trace trace{written({read(30, 10, 0), read(15, 10, EIO), read(10, 20, 0)})};
  const auto reads = trace.named("read direct");
  ASSERT_EQ(reads.size(), 3u);
  EXPECT_EQ(trace.track_name(reads[0]), "disk 1");
  EXPECT_EQ(trace.track_name(reads[1]), "disk 2");
  EXPECT_EQ(trace.track_name(reads[2]), "disk 1") << "free again at 30";
  EXPECT_EQ(reads[1].texts.at("error"), "EIO");
  EXPECT_FALSE(reads[0].texts.contains("error"));
  EXPECT_EQ(reads[0].texts.at("file"), "t5xxl.safetensors");
  EXPECT_EQ(reads[0].numbers.at("offset"), 1u << 20);
  expect_flat_tracks(trace);
}

TEST_F(perfetto_file, waits_stand_on_their_load_and_counters_have_units) {
  names.name_subject(trace_subject::load, 1, "sd15");
  const auto wait = names.intern("header"), bytes = names.intern("host bytes"), reads = names.intern("reads in flight");
  const decoded_trace trace{
      written({{.start_ns = 10, .duration_ns = 5, .value = 77, .subject = 1, .name = wait, .kind = trace_kind::wait},
               {.start_ns = 11, .value = 1ull << 40, .name = bytes, .kind = trace_kind::counter},
               {.start_ns = 12, .value = 3, .name = reads, .kind = trace_kind::counter}})};
  ASSERT_EQ(trace.events.size(), 4u);
  EXPECT_EQ(trace.track_name(trace.events[0]), "sd15");
  EXPECT_EQ(trace.section_of(trace.events[0]), "Waits");
  EXPECT_EQ(trace.events[0].numbers.at("bytes"), 77u);
  const auto &host = trace.events[2], &flight = trace.events[3];
  EXPECT_EQ(host.counter, int64_t{1} << 40);
  EXPECT_EQ(trace.track_name(host), "host bytes");
  EXPECT_EQ(trace.tracks.at(host.track).unit, unit_bytes);
  EXPECT_EQ(flight.counter, 3);
  EXPECT_EQ(trace.tracks.at(flight.track).unit, unit_count);
}

TEST_F(perfetto_file, each_effect_points_at_its_cause_however_many_there_are) {
  const auto name = names.intern("get_model");
  const auto message = [&](uint64_t at, uint64_t span, uint64_t cause, uint32_t actor) {
    return trace_record{.start_ns = at,
                        .duration_ns = 5,
                        .span = span,
                        .cause = cause,
                        .subject = actor,
                        .name = name,
                        .kind = trace_kind::message};
  };
  const decoded_trace trace{written(
      {message(10, 1, 0, 1), message(20, 2, 1, 2), message(30, 3, 1, 3), message(40, 4, 3, 1)}, {.batch_records = 1})};
  const auto slices = trace.named("get_model");
  ASSERT_EQ(slices.size(), 4u);
  std::set<uint64_t> opened;
  for (const auto& slice : slices) {
    EXPECT_TRUE(slice.flow_from == 0 || opened.contains(slice.flow_from));
    EXPECT_TRUE(opened.insert(slice.flow).second);
  }
  EXPECT_EQ(slices[1].flow_from, 1u);
  EXPECT_EQ(slices[2].flow_from, 1u);
  EXPECT_EQ(slices[3].flow_from, 3u);
}

TEST_F(perfetto_file, instants_stand_on_their_actor_or_with_the_tracer) {
  const auto name = names.intern("cancelled");
  const decoded_trace trace{written({{.start_ns = 10, .subject = 6, .name = name, .kind = trace_kind::instant},
                                     {.start_ns = 11, .name = name, .kind = trace_kind::instant}})};
  ASSERT_EQ(trace.events.size(), 2u);
  EXPECT_EQ(trace.events[0].type, event_type::instant);
  EXPECT_EQ(trace.track_name(trace.events[0]), "actor 6");
  EXPECT_EQ(trace.track_name(trace.events[1]), "Tracer");
}

TEST_F(perfetto_file, the_trace_says_how_much_it_lacks) {
  auto writer = perfetto_writer::open(path(), names);
  ASSERT_TRUE(writer.has_value());
  writer->note_dropped(1234, 99);
  ASSERT_TRUE(writer->finish().has_value());
  const auto said = decoded_trace{contents()}.named("records dropped");
  ASSERT_EQ(said.size(), 1u);
  EXPECT_EQ(said[0].type, event_type::instant);
  EXPECT_EQ(said[0].at_ns, 99u);
  EXPECT_EQ(said[0].numbers.at("count"), 1234u);
}

TEST_F(perfetto_file, past_the_limit_of_track_groups_the_rest_share_one_of_their_sort) {
  std::vector<trace_record> records;
  for (uint32_t actor = 1; actor <= 40; ++actor)
    records.push_back({.start_ns = actor, .duration_ns = 1, .subject = actor, .kind = trace_kind::message});
  const decoded_trace trace{written(records, {.max_track_groups = 4})};
  std::set<std::string> used;
  for (const auto& event : trace.events)
    used.insert(trace.track_name(event));
  EXPECT_EQ(used, (std::set<std::string>{"actor 1", "actor 2", "actor 3", "actor 4", "other actors"}));
  EXPECT_EQ(trace.events.size(), 80u);
  expect_flat_tracks(trace);
}

TEST_F(perfetto_file, grows_beside_its_name_and_is_gone_when_not_finished) {
  {
    auto writer = perfetto_writer::open(path(), names);
    ASSERT_TRUE(writer.has_value());
    EXPECT_TRUE(fs::exists(path() + ".part"));
    EXPECT_FALSE(fs::exists(path()));
  }
  EXPECT_EQ(files(), 0u);
  written({});
  EXPECT_TRUE(fs::exists(path()));
  EXPECT_EQ(files(), 1u);
}

TEST_F(perfetto_file, what_was_flushed_is_on_disk) {
  auto writer = perfetto_writer::open(path(), names);
  ASSERT_TRUE(writer.has_value());
  const auto before = fs::file_size(path() + ".part");
  for (uint64_t i = 0; i < 100; ++i)
    writer->add({.start_ns = i, .subject = 1, .kind = trace_kind::message}, thread);
  ASSERT_TRUE(writer->flush().has_value());
  EXPECT_GT(fs::file_size(path() + ".part"), before + 100 * 30);
}

TEST_F(perfetto_file, a_path_that_cannot_be_made_is_a_typed_error) {
  const auto missing = (folder / "no such folder" / "trace").string();
  const auto writer = perfetto_writer::open(missing, names);
  ASSERT_FALSE(writer.has_value());
  EXPECT_EQ(writer.error().code, errc::io_failed);
  EXPECT_EQ(writer.error().path, missing);
  EXPECT_EQ(writer.error().os_error, ENOENT);
  EXPECT_EQ(files(), 0u);
}

TEST_F(perfetto_file, a_full_disk_is_a_typed_error_and_leaves_no_file) {
  auto writer = perfetto_writer::open(path(), names);
  ASSERT_TRUE(writer.has_value());
  ASSERT_TRUE(fs::remove(path() + ".part"));
  fs::create_symlink("/dev/full", path() + ".part");
  const auto second = perfetto_writer::open(path(), names);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code, errc::io_failed);
  EXPECT_EQ(second.error().path, path());
  EXPECT_EQ(second.error().os_error, ENOSPC);
  EXPECT_EQ(files(), 0u);
}

TEST_F(perfetto_file, a_name_that_is_taken_by_a_folder_is_a_typed_error_and_leaves_no_part) {
  fs::create_directory(path());
  auto writer = perfetto_writer::open(path(), names);
  ASSERT_TRUE(writer.has_value());
  const auto finished = writer->finish();
  ASSERT_FALSE(finished.has_value());
  EXPECT_EQ(finished.error().code, errc::io_failed);
  EXPECT_EQ(finished.error().os_error, EISDIR);
  EXPECT_EQ(files(), 1u) << "the folder alone";
}

RC_GTEST_FIXTURE_PROP(perfetto_file, any_records_in_any_batches_give_every_slice_on_flat_tracks, ()) {
  const auto kinds = rc::gen::element(trace_kind::message, trace_kind::disk_op, trace_kind::wait);
  std::vector<trace_record> records;
  std::multiset<std::pair<uint64_t, uint64_t>> expected_slices, slices;
  const auto count = *rc::gen::inRange<size_t>(0, 60);
  for (size_t i = 0; i < count; ++i) {
    records.push_back({.start_ns = *rc::gen::inRange<uint64_t>(1, 100),
                       .duration_ns = *rc::gen::inRange<uint64_t>(0, 30),
                       .span = i + 1,
                       .cause = *rc::gen::inRange<uint64_t>(0, i + 1),
                       .value = i + 1,
                       .subject = *rc::gen::inRange<uint32_t>(0, 4),
                       .kind = *kinds});
    expected_slices.emplace(records.back().start_ns, records.back().value);
  }
  const perfetto_limits limits{.buffer_bytes = *rc::gen::inRange<size_t>(1, 500),
                               .batch_records = *rc::gen::inRange<size_t>(1, 70)};
  const auto data = written(records, limits);
  RC_ASSERT(data == written(records, limits));
  const decoded_trace trace{data};
  for (const auto& event : trace.events)
    if (event.type == event_type::slice_begin)
      slices.emplace(event.at_ns, event.numbers.at("bytes"));
  RC_ASSERT(slices == expected_slices);
  RC_ASSERT(trace.events.size() == 2 * count);
  expect_flat_tracks(trace);
  RC_ASSERT(!testing::Test::HasFailure());
}
