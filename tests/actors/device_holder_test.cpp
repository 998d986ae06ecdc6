// The holder of a file on the device beside a host copy that is not to be had: each chunk then comes from the disk.
#include "actors/device_holder.hpp"
#include "messages/host_copy.hpp"
#include "messages/load.hpp"
#include "tests/actors/actor_fixture.hpp"

namespace longshore {
namespace {

constexpr size_t model_bytes = 4 * arena_pool::granule_bytes;

class device_holders : public testing::Test {
protected:
  /// A registry that grants what the holder wants, and notes how the load ends.
  caf::behavior registry(caf::event_based_actor* self, const start_load& order, const caf::actor& host_copy) {
    const holder_services services{.reader = world.reader,
                                   .arbiter = world.arbiter,
                                   .pool = world.pool,
                                   .options = {.credits = 6,
                                               .chunk_bytes = 1 << 20,
                                               .page_cache = page_cache_mode::buffered,
                                               .leave_in_cache = true,
                                               .open_on_own_thread = false},
                                   .target = world.device,
                                   .lanes = world.lanes,
                                   .copier = world.copier};
    const auto holder = spawn_device_holder(self, order, services, world.lanes.front(), host_copy);
    return {[=](const file_opened& file) { self->send(holder, grant_bytes{file.file, file.bytes}); },
            [this, self, holder](const file_ready& file) {
              ready_bytes = file.report.buffered_bytes;
              self->send(holder, drop_file{file.file});
            },
            [this](const file_failed& file) { failures.push_back(to_text(file.reason)); },
            [this](const file_dropped&) { dropped = true; }};
  }

  /// Loads in an order that the seed gives, without time that passes.
  void load(uint64_t seed, const caf::actor& host_copy) {
    const auto wanted = files.request("m", {files.write("m", model_bytes, seed)}, hold_choice::device);
    const start_load order{.file = 1, .source = wanted.source.files.front(), .urgent = true};
    const auto loading =
        world.system.spawn([&, order](caf::event_based_actor* self) { return registry(self, order, host_copy); });
    world.run_shuffled(seed);
  }

  void expect_all_from_the_disk() const {
    EXPECT_TRUE(failures.empty()) << failures.front();
    EXPECT_GE(ready_bytes, model_bytes);
    EXPECT_TRUE(dropped);
  }

  model_files files;
  actor_world world{{.limit_bytes = 8 * arena_pool::granule_bytes,
                     .holder = {.chunk_bytes = 1 << 20},
                     .device = std::make_shared<stepped_device>(8 * arena_pool::granule_bytes),
                     .device_limit_bytes = 8 * arena_pool::granule_bytes,
                     .staging_bytes = arena_pool::granule_bytes}};
  uint64_t ready_bytes = 0;
  std::vector<std::string> failures;
  bool dropped = false;
};

/// Its last word may come before the last wish that is sent to it: what is on its way then has no answer.
TEST_F(device_holders, do_without_a_host_copy_that_refuses_once_and_ends) {
  const auto copy = world.system.spawn([](caf::event_based_actor* self) -> caf::behavior {
    return {[=](const borrow_range& wish) {
      self->send(caf::actor_cast<caf::actor>(self->current_sender()), range_lent{.index = wish.index});
      self->quit();
    }};
  });
  load(1, copy);
  expect_all_from_the_disk();
}

TEST_F(device_holders, do_without_a_host_copy_that_ends_without_a_word) {
  const auto copy = world.system.spawn(
      [](caf::event_based_actor* self) -> caf::behavior { return {[=](const borrow_range&) { self->quit(); }}; });
  load(2, copy);
  expect_all_from_the_disk();
}

/// A wish may be answered after the load has stopped waiting for it; the chunk is read once all the same.
TEST_F(device_holders, take_no_chunk_twice_from_a_host_copy_that_refuses_all) {
  const auto copy = world.system.spawn([](caf::event_based_actor* self) -> caf::behavior {
    return {[=](const borrow_range& wish) {
      self->send(caf::actor_cast<caf::actor>(self->current_sender()), range_lent{.index = wish.index});
    }};
  });
  load(3, copy);
  expect_all_from_the_disk();
  EXPECT_LT(ready_bytes, model_bytes + 4096);
  world.kill(copy);
}

}  // namespace
}  // namespace longshore
