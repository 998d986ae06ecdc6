// Host copies: files in host memory that files for the device are made from.
#include "tests/cache/registry_fixture.hpp"

namespace longshore {
namespace {

class host_copy_rules : public registry_rules {
protected:
  host_copy_rules() { cache = registry{{.host_limit_bytes = 100, .device_limit_bytes = 50}}; }

  static file_source for_device(uint64_t inode, bool host_copy = true) {
    auto wanted = source(inode, hold_mode::device);
    wanted.host_copy = host_copy;
    return wanted;
  }

  /// Both files of a load to the device by way of a host copy: the copy's and the device's.
  std::pair<file_id, file_id> start_with_copy(const std::string& key, uint64_t inode) {
    const auto started = files_of<start_load>(cache.get(request(key, {for_device(inode)})));
    EXPECT_EQ(started.size(), 2U);
    return {started.at(0), started.at(1)};
  }

  /// The same, to the end, and the lease given back.
  std::pair<file_id, file_id> load_idle_with_copy(const std::string& key, uint64_t inode, uint64_t bytes) {
    const auto [copy, on_device] = start_with_copy(key, inode);
    bring_in(copy, bytes);
    const auto answers = pick<complete>(bring_in(on_device, bytes));
    EXPECT_EQ(answers.size(), 1U);
    cache.lease_returned(answers.at(0).lease);
    return {copy, on_device};
  }
};

TEST_F(host_copy_rules, is_started_first_and_named_to_the_devices_holder) {
  const auto started = pick<start_load>(cache.get(request("m", {for_device(1)})));
  ASSERT_EQ(started.size(), 2U);
  EXPECT_EQ(started[0].source.hold, hold_mode::pinned);
  EXPECT_EQ(started[1].source.hold, hold_mode::device);
  EXPECT_EQ(started[1].host_copy, started[0].file);
  EXPECT_EQ(started[0].host_copy, 0U);
}

TEST_F(host_copy_rules, stays_when_its_key_loses_the_device_and_is_found_again) {
  const auto [copy, on_device] = load_idle_with_copy("m", 1, 40);
  const auto other = start_with_copy("other", 2);
  const auto evicted = cache.file_opened(other.second, 40);
  EXPECT_EQ(files_of<drop_file>(evicted), std::vector{on_device});
  cache.file_dropped(on_device);
  cache.give_up(1);
  EXPECT_EQ(keys(), std::vector<std::string>{});
  const auto again = pick<start_load>(cache.get(request("m", {for_device(1)})));
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].host_copy, copy);
}

TEST_F(host_copy_rules, is_evicted_for_whoever_needs_host_memory_and_the_device_keeps_its_own) {
  const auto [copy, on_device] = load_idle_with_copy("m", 1, 40);
  const auto started = start(request("big", {source(2)}));
  EXPECT_EQ(files_of<drop_file>(cache.file_opened(started, 90)), std::vector{copy});
  EXPECT_EQ(files_of<grant_bytes>(cache.file_dropped(copy)), std::vector{started});
  EXPECT_EQ(keys(), std::vector<std::string>{"m"});
}

TEST_F(host_copy_rules, is_not_evicted_while_the_device_is_filled_from_it) {
  const auto [copy, on_device] = start_with_copy("m", 1);
  bring_in(copy, 40);
  const auto started = start(request("big", {source(2)}));
  EXPECT_TRUE(files_of<drop_file>(cache.file_opened(started, 90)).empty());
  EXPECT_EQ(files_of<keep_file>(cache.asked_back(copy)), std::vector{copy});
  EXPECT_EQ(files_of<drop_file>(bring_in(on_device, 40)), std::vector{copy});
}

TEST_F(host_copy_rules, for_which_nothing_can_be_freed_is_refused_at_once_and_the_load_goes_on) {
  load("leased", 9, 80);
  const auto [copy, on_device] = start_with_copy("m", 1);
  const auto refused = cache.file_opened(copy, 40);
  EXPECT_EQ(files_of<refuse_bytes>(refused), std::vector{copy});
  EXPECT_TRUE(pick<fail>(refused).empty());
  cache.file_dropped(copy);
  EXPECT_EQ(pick<complete>(bring_in(on_device, 40)).size(), 1U);
}

TEST_F(host_copy_rules, waits_for_others_memory_only_when_someone_else_wants_the_file_too) {
  const auto alone = pick<grant_bytes>(cache.file_opened(start_with_copy("m", 1).first, 40));
  ASSERT_EQ(alone.size(), 1U);
  EXPECT_FALSE(alone[0].patient);
  const auto wanted = start_with_copy("n", 2).first;
  cache.get(request("on the host", {source(2)}));
  const auto shared = pick<grant_bytes>(cache.file_opened(wanted, 40));
  ASSERT_EQ(shared.size(), 1U);
  EXPECT_TRUE(shared[0].patient);
}

TEST_F(host_copy_rules, that_fails_is_no_failure_of_the_load) {
  const auto [copy, on_device] = start_with_copy("m", 1);
  EXPECT_TRUE(pick<fail>(cache.file_failed(copy, {errc::io_failed, "broke down"})).empty());
  EXPECT_EQ(pick<complete>(bring_in(on_device, 40)).size(), 1U);
}

TEST_F(host_copy_rules, unfinished_ends_with_the_load_that_was_given_up) {
  auto wanted = request("m", {for_device(1)});
  const auto started = files_of<start_load>(cache.get(wanted));
  EXPECT_EQ(files_of<cancel_load>(cache.give_up(wanted.ticket)), std::vector{started.at(1)});
  EXPECT_EQ(files_of<cancel_load>(cache.file_dropped(started.at(1))), std::vector{started.at(0)});
}

TEST_F(host_copy_rules, goes_with_a_model_that_is_removed_and_with_all_that_is_cleared) {
  const auto first = load_idle_with_copy("first", 1, 20);
  const auto second = load_idle_with_copy("second", 2, 20);
  EXPECT_EQ(files_of<drop_file>(*cache.remove("first")), (std::vector{first.second, first.first}));
  EXPECT_EQ(files_of<drop_file>(cache.clear()), (std::vector{second.second, second.first}));
}

TEST_F(host_copy_rules, that_lost_its_key_while_the_device_was_filled_goes_when_that_is_done) {
  const auto [copy, on_device] = start_with_copy("m", 1);
  bring_in(copy, 20);
  EXPECT_TRUE(files_of<drop_file>(cache.clear()).empty());
  EXPECT_EQ(files_of<drop_file>(bring_in(on_device, 20)), std::vector{copy});
}

TEST_F(host_copy_rules, is_hurried_with_the_load_that_someone_waits_for) {
  auto prefetch = request("m", {for_device(1)});
  const auto started = files_of<start_load>(cache.get(prefetch));
  auto urgent = request("m", {for_device(1)});
  urgent.urgent = true;
  EXPECT_EQ(files_of<promote>(cache.get(urgent)), (std::vector{started.at(1), started.at(0)}));
}

TEST_F(host_copy_rules, is_an_owned_file_where_there_is_one_that_stays_its_keys) {
  const auto owned = load_idle("host", 1, 30);
  const auto started = pick<start_load>(cache.get(request("device", {for_device(1, false)})));
  ASSERT_EQ(started.size(), 1U);
  EXPECT_EQ(started[0].host_copy, owned);
  bring_in(started[0].file, 30);
  EXPECT_EQ(files_of<drop_file>(*cache.remove("host")), std::vector{owned});
}

TEST_F(host_copy_rules, override_reads_anew) {
  const auto [copy, on_device] = load_idle_with_copy("m", 1, 20);
  const auto started = pick<start_load>(cache.get(request("m", {for_device(1)}, cache_mode::override_cache)));
  ASSERT_EQ(started.size(), 2U);
  EXPECT_EQ(started[1].host_copy, started[0].file);
  EXPECT_NE(started[0].file, copy);
}

TEST_F(host_copy_rules, leases_are_told_as_they_come_and_go) {
  const auto file = start(request("m", {source(1)}));
  const auto ready = bring_in(file, 10);
  ASSERT_EQ(pick<lease_change>(ready).size(), 1U);
  EXPECT_TRUE(pick<lease_change>(ready)[0].leased);
  const auto second = pick<complete>(cache.get(request("m", {source(1)})));
  ASSERT_EQ(second.size(), 1U);
  EXPECT_TRUE(pick<lease_change>(cache.lease_returned(second[0].lease)).empty());
  const auto last = pick<lease_change>(cache.lease_returned(pick<complete>(ready)[0].lease));
  ASSERT_EQ(last.size(), 1U);
  EXPECT_FALSE(last[0].leased);
}

TEST_F(host_copy_rules, what_is_asked_back_is_freed_when_idle_and_kept_when_not) {
  const auto idle = load_idle("idle", 1, 10);
  const auto leased = load("leased", 2, 10).files.at(0);
  const auto kept = load_idle("kept", 3, 10, true);
  EXPECT_EQ(files_of<drop_file>(cache.asked_back(idle)), std::vector{idle});
  EXPECT_EQ(files_of<keep_file>(cache.asked_back(leased)), std::vector{leased});
  EXPECT_EQ(files_of<keep_file>(cache.asked_back(kept)), std::vector{kept});
}

TEST_F(host_copy_rules, shedding_takes_the_least_recently_used_until_it_is_enough) {
  const auto first = load_idle("first", 1, 30);
  const auto second = load_idle("second", 2, 30);
  load_idle("third", 3, 30);
  EXPECT_EQ(files_of<drop_file>(cache.shed(tier::host, 40)), (std::vector{first, second}));
}

}  // namespace
}  // namespace longshore
