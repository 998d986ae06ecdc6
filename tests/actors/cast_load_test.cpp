// Casts in host memory, step by step: the right bits out of page cache and disk, under every limit, shared and pinned.
#include "tests/actors/cast_loads.hpp"

namespace longshore {
namespace {

TEST_F(cast_loads, bring_the_bits_of_every_type_from_page_cache_and_disk) {
  for (const auto& options : {world_options{}, from_disk()})
    for (const auto* to : {"F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}) {
      SCOPED_TRACE(to);
      actor_world world{options};
      const auto answer = world.load(request(to));
      ASSERT_TRUE(answer.lease) << to_text(answer.reason);
      EXPECT_TRUE(files.holds_right_bytes(answer));
      const auto& file = *answer.lease->model().files.at(0);
      EXPECT_EQ(name(file.find("half")->type), to);
      EXPECT_EQ(file.find("index")->type, dtype::I64);
      EXPECT_FALSE(file.is_mapped());
    }
}

TEST_F(cast_loads, out_of_the_page_cache_need_no_scratch_memory) {
  actor_world world;
  const auto answer = world.load(request("F32"));
  ASSERT_TRUE(answer.lease);
  EXPECT_EQ(slots_lent_at_most(world), 0U);
  EXPECT_TRUE(world.disk.turns.empty());
  const auto& report = answer.lease->model().reports.at(0);
  EXPECT_GE(report.buffered_bytes, fs::file_size(path));
  EXPECT_EQ(report.direct_bytes, 0U);
  EXPECT_EQ(report.tensors, 7U);
}

TEST_F(cast_loads, from_the_disk_go_through_slots) {
  auto options = from_disk();
  options.scratch_bytes = 2 * granule_bytes;
  actor_world world{options};
  const auto answer = world.load(request("F32"));
  ASSERT_TRUE(answer.lease);
  EXPECT_EQ(slots_lent_at_most(world), 2U);
  EXPECT_GE(answer.lease->model().reports.at(0).direct_bytes, fs::file_size(path));
  world.outlast_idle_scratch();
  EXPECT_EQ(world.used_bytes(), world.list().used_bytes) << "idle scratch memory is given back";
}

TEST_F(cast_loads, take_what_is_cached_from_there_and_the_rest_from_the_disk) {
  constexpr uint64_t part_bytes = 1 << 20;
  const auto large = files.write("large", {{"half", 4 * part_bytes, "F16", 2}}, 2);
  make_cold(large);
  byte_vector front(part_bytes);
  ASSERT_TRUE(model_file::open(large)->read_at(front, 0));
  auto options = from_disk();
  options.holder.page_cache = page_cache_mode::automatic;
  options.holder.leave_in_cache = false;
  options.holder.chunk_bytes = part_bytes;
  actor_world world{options};
  const auto answer = world.load(files.request("large", {large}, hold_choice::automatic, "F32"));
  ASSERT_TRUE(files.holds_right_bytes(answer));
  const auto& report = answer.lease->model().reports.at(0);
  EXPECT_GT(report.buffered_bytes, 0U);
  EXPECT_GT(report.direct_bytes, 0U);
}

TEST_F(cast_loads, count_what_the_cast_takes) {
  const auto large = files.write("large", {{"half", granule_bytes, "F16", 2}}, 3);
  actor_world world{{.limit_bytes = 2 * granule_bytes}};
  const auto wide = world.load(files.request("large", {large}, hold_choice::owned, "F32"));
  ASSERT_TRUE(files.holds_right_bytes(wide));
  EXPECT_EQ(world.list().used_bytes, 2 * granule_bytes);
  actor_world smaller{{.limit_bytes = granule_bytes}};
  const auto refused = smaller.load(files.request("large", {large}, hold_choice::owned, "F32"));
  EXPECT_EQ(refused.reason.code, errc::out_of_budget);
  EXPECT_EQ(refused.reason.path, large);
  EXPECT_TRUE(files.holds_right_bytes(smaller.load(files.request("large", {large}, hold_choice::owned, "F8_E5M2"))));
}

TEST_F(cast_loads, for_which_there_is_no_scratch_memory_come_through_the_page_cache) {
  auto options = from_disk();
  options.limit_bytes = granule_bytes;
  actor_world world{options};
  const auto answer = world.load(request("F32"));
  ASSERT_TRUE(answer.lease) << to_text(answer.reason);
  EXPECT_TRUE(files.holds_right_bytes(answer));
  EXPECT_EQ(slots_lent_at_most(world), 0U);
  EXPECT_EQ(answer.lease->model().reports.at(0).direct_bytes, 0U);
}

TEST_F(cast_loads, are_shared_by_those_who_want_the_same_type) {
  actor_world world;
  const auto first = world.get(request("F32")), second = world.get(request("F32"));
  world.run();
  EXPECT_EQ(first->answers.at(0).lease->model().files, second->answers.at(0).lease->model().files);
  EXPECT_TRUE(world.load(request("F32")).hit);
  EXPECT_TRUE(world.load(request(hold_choice::automatic, "F32")).hit);
  EXPECT_FALSE(world.load(request("BF16")).hit);
  const auto plain = world.load(request(""));
  EXPECT_FALSE(plain.hit);
  EXPECT_TRUE(files.holds_right_bytes(plain));
  EXPECT_TRUE(files.holds_right_bytes(first->answers.at(0))) << "replaced, but leased";
}

TEST_F(cast_loads, are_evicted_for_others) {
  actor_world world{{.limit_bytes = granule_bytes}};
  ASSERT_TRUE(world.load(request("F32")).lease);
  auto other = request("F16");
  other.key = "other";
  EXPECT_TRUE(files.holds_right_bytes(world.load(other)));
  EXPECT_EQ(world.list().entries.size(), 1U);
  world.stop_and_expect_empty();
}

TEST_F(cast_loads, that_a_mapping_cannot_be_are_refused) {
  actor_world world;
  const auto answer = world.load(unchecked(hold_mode::mapped, "F32"));
  EXPECT_EQ(answer.reason.code, errc::bad_argument);
  EXPECT_EQ(answer.reason.path, path);
  EXPECT_NE(answer.reason.what.find("mapped"), std::string::npos);
}

TEST_F(cast_loads, to_what_is_no_type_of_weights_are_refused) {
  actor_world world;
  const auto answer = world.load(unchecked(hold_mode::owned, "I8"));
  EXPECT_EQ(answer.reason.code, errc::bad_argument);
  EXPECT_NE(answer.reason.what.find("not to 'I8'"), std::string::npos) << answer.reason.what;
  world.stop_and_expect_empty();
}

TEST_F(cast_loads, that_change_nothing_are_right_too) {
  const auto same = files.write("same", {{"half", 50'000, "F16", 2}, {"bytes", 7}}, 4);
  actor_world world;
  auto wanted = files.request("same", {same});
  wanted.source.files[0].cast_to = "F16";
  EXPECT_TRUE(files.holds_right_bytes(world.load(wanted)));
}

TEST_F(cast_loads, of_a_file_without_data_are_there_at_once) {
  const auto empty = files.write("empty", std::vector<made_tensor>{{"nothing", 0, "F16", 2}}, 5);
  actor_world world;
  auto wanted = files.request("empty", {empty}, hold_choice::owned, "F32");
  const auto answer = world.load(wanted);
  ASSERT_TRUE(answer.lease) << to_text(answer.reason);
  EXPECT_EQ(answer.lease->model().files.at(0)->find("nothing")->type, dtype::F32);
}

TEST_F(cast_loads, of_any_order_of_events_are_right) {
  for (uint64_t seed = 0; seed < 50; ++seed)
    for (auto options : {world_options{}, from_disk()}) {
      SCOPED_TRACE(seed);
      options.scratch_bytes = (1 + seed % 4) * granule_bytes;
      options.holder.credits = 1 + seed % 7;
      actor_world world{options};
      const auto wide = world.get(request("F32"));
      auto other = request("F8_E5M2");
      other.key = "other";
      const auto narrow = world.get(other);
      world.run_shuffled(seed);
      EXPECT_TRUE(files.holds_right_bytes(wide->answers.at(0)));
      EXPECT_TRUE(files.holds_right_bytes(narrow->answers.at(0)));
    }
}

TEST_F(cast_loads, that_someone_waits_for_go_first) {
  auto options = from_disk();
  options.disk_depth = 1;
  options.scratch_bytes = granule_bytes;
  actor_world world{options};
  const auto other = files.write("other", tensors(50'001), 6);
  auto ahead = files.request("other", {other}, hold_choice::owned, "F32");
  ahead.urgent = false;
  const auto prefetch = world.get(ahead);
  world.run_messages();
  auto wanted = request("F32");
  const auto asked = world.get(wanted);
  while (!asked->answered())
    ASSERT_TRUE(world.step());
  EXPECT_FALSE(prefetch->answered());
  world.run();
  EXPECT_TRUE(files.holds_right_bytes(prefetch->answers.at(0)));
}

/// With a device that host memory can be page-locked for.
class pinned_casts : public cast_loads {
protected:
  static world_options with_device(uint64_t pin_limit_bytes) {
    auto options = from_disk();
    options.holder.pin_segment_bytes = granule_bytes;
    options.staging_bytes = granule_bytes;
    options.pin_limit_bytes = pin_limit_bytes;
    options.device_limit_bytes = 2 * granule_bytes;
    options.device = std::make_shared<stepped_device>(4 * granule_bytes);
    return options;
  }

  const std::string large = files.write("large", {{"half", 2 * granule_bytes + 10, "F16", 2}, {"bytes", 5}}, 7);
  const get_model wanted = files.request("large", {large}, hold_choice::pinned, "F32");
};

TEST_F(pinned_casts, are_locked_as_they_fill) {
  actor_world world{with_device(16 * granule_bytes)};
  const auto answer = world.load(wanted);
  ASSERT_TRUE(files.holds_right_bytes(answer));
  EXPECT_EQ(answer.lease->model().reports.at(0).pinned_bytes, 5 * granule_bytes);
  EXPECT_EQ(world.device->locked_bytes(), 5 * granule_bytes);
}

TEST_F(pinned_casts, are_locked_as_far_as_the_budget_goes) {
  actor_world world{with_device(3 * granule_bytes)};
  const auto answer = world.load(wanted);
  ASSERT_TRUE(files.holds_right_bytes(answer));
  EXPECT_EQ(world.device->locked_bytes(), 3 * granule_bytes);
}

TEST_F(pinned_casts, give_way_when_the_machine_runs_short) {
  actor_world world{with_device(16 * granule_bytes)};
  {
    const auto answer = world.load(wanted);
    ASSERT_TRUE(answer.lease);
    caf::anon_send(world.arbiter, machine_pressure{granule_bytes});
    world.run();
    EXPECT_TRUE(files.holds_right_bytes(answer)) << "leased";
  }
  world.run();
  caf::anon_send(world.arbiter, machine_pressure{64 * granule_bytes});
  world.run();
  world.outlast_idle_scratch();
  EXPECT_EQ(world.used_bytes(), 0U);
  EXPECT_EQ(world.device->locked_bytes(), 0U);
  EXPECT_TRUE(world.list().entries.empty());
}

TEST_F(pinned_casts, are_no_host_copies_of_what_is_not_cast) {
  actor_world world{with_device(16 * granule_bytes)};
  ASSERT_TRUE(world.load(wanted).lease);
  auto on_device = files.request("on device", {path}, hold_choice::device);
  const auto small = world.load(request(hold_choice::pinned, "F32"));
  ASSERT_TRUE(small.lease);
  const auto answer = world.load(on_device);
  ASSERT_TRUE(answer.lease) << to_text(answer.reason);
  EXPECT_EQ(answer.lease->model().reports.at(0).host_copy_bytes, 0U);
}

}  // namespace
}  // namespace longshore
