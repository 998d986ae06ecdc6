// How short of memory a machine is, as made-up /proc and /sys trees tell it, and once as this machine does.
#include "io/memory_pressure.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <utility>

#include "tests/io/system_tree.hpp"

using namespace longshore;
using testing::ElementsAre;
using testing::IsEmpty;

namespace {

constexpr uint64_t mib = uint64_t{1} << 20;
constexpr uint64_t gib = uint64_t{1} << 30;
const std::string v2 = "sys/fs/cgroup/a/";
const std::string v1 = "sys/fs/cgroup/memory/jobs/7/";

class memory_pressure_of : public testing::Test, protected system_tree {
protected:
  memory_pressure_of() {
    write("proc/meminfo", "MemTotal:       16777216 kB\nMemFree:  1024 kB\nMemAvailable:    4194304 kB\n");
  }

  /// 4 GiB, of which 1 GiB is free and 512 MiB are file pages.
  void a_v2_cgroup() {
    processes("0::/a\n", disk_mount + v2_mount);
    write(v2 + "memory.max", "4294967296\n");
    write(v2 + "memory.high", "max\n");
    write(v2 + "memory.current", "3221225472\n");
    write(
        v2 + "memory.stat",
        "anon 2000000000\nfile 536870912\ninactive_file 402653184\nactive_file 100663296\nslab_reclaimable 33554432\n");
    write(v2 + "memory.events", "low 5\nhigh 7\nmax 11\noom 2\noom_kill 1\n");
    write(v2 + "memory.pressure", "some avg10=1.50 avg60=0.00 avg300=0.00 total=77\nfull avg10=9.00 total=1\n");
  }
  /// The same, its file pages those of its children too.
  void a_v1_cgroup() {
    processes("4:memory:/jobs/7\n0::/\n", v1_mount);
    write(v1 + "memory.limit_in_bytes", "4294967296\n");
    write(v1 + "memory.usage_in_bytes", "3221225472\n");
    write(v1 + "memory.stat",
          "inactive_file 1\nactive_file 2\ntotal_inactive_file 402653184\ntotal_active_file 134217728\n");
    write(v1 + "memory.failcnt", "13\n");
    write(v1 + "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
  }

  memory_sample sample() {
    const auto source = memory_pressure_source::find(root());
    EXPECT_TRUE(source) << to_text(source.error());
    return source->sample();
  }
  /// The sample of a machine whose every source makes sense.
  memory_sample good_sample() {
    auto all = sample();
    EXPECT_EQ(all.problem.code, errc{}) << to_text(all.problem);
    return all;
  }
  void expect_problem(errc code, const std::string& path) {
    const auto all = sample();
    EXPECT_EQ(all.problem.code, code);
    EXPECT_EQ(all.problem.path, *this / path);
  }
};

std::vector<std::string> names(const memory_sample& sample) {
  std::vector<std::string> found;
  for (const auto& level : sample.host)
    found.push_back(level.name);
  return found;
}

TEST_F(memory_pressure_of, a_machine_without_cgroups_or_stalls_is_what_meminfo_says) {
  const auto found = good_sample();
  ASSERT_THAT(names(found), ElementsAre("physical memory"));
  EXPECT_EQ(found.host[0].limit_bytes, 16 * gib);
  EXPECT_EQ(found.host[0].available_bytes, 4 * gib);
  EXPECT_FALSE(found.host[0].stall);
  EXPECT_FALSE(found.host[0].events);
  EXPECT_FALSE(found.device);
}

TEST_F(memory_pressure_of, the_machines_stalls_are_those_of_some_task) {
  write("proc/pressure/memory",
        "some avg10=12.34 avg60=0.20 avg300=0.03 total=3981313\nfull avg10=90.00 avg60=0.00 avg300=0.00 total=5\n");
  const auto found = good_sample();
  ASSERT_TRUE(found.host.at(0).stall);
  EXPECT_DOUBLE_EQ(found.host[0].stall->share, 0.1234);
  EXPECT_EQ(found.host[0].stall->total_us, 3981313U);
}

TEST_F(memory_pressure_of, nothing_is_known_of_a_system_that_tells_nothing) {
  remove("proc/meminfo");
  EXPECT_THAT(good_sample().host, IsEmpty());
}

TEST_F(memory_pressure_of, an_old_kernel_without_an_estimate_tells_nothing_of_the_machine) {
  write("proc/meminfo", "MemTotal:       16777216 kB\nMemFree:  1024 kB\n");
  EXPECT_THAT(good_sample().host, IsEmpty());
}

TEST_F(memory_pressure_of, a_v2_cgroup_has_its_own_stalls_and_events_and_does_not_count_file_pages) {
  a_v2_cgroup();
  const auto found = good_sample();
  ASSERT_THAT(names(found), ElementsAre("physical memory", "cgroup v2 /a"));
  const auto& cgroup = found.host[1];
  EXPECT_EQ(cgroup.limit_bytes, 4 * gib);
  EXPECT_EQ(cgroup.available_bytes, gib + 512 * mib);
  ASSERT_TRUE(cgroup.stall);
  EXPECT_DOUBLE_EQ(cgroup.stall->share, 0.015);
  EXPECT_EQ(cgroup.stall->total_us, 77U);
  ASSERT_TRUE(cgroup.events);
  EXPECT_EQ(cgroup.events->high, 7U);
  EXPECT_EQ(cgroup.events->max, 11U);
  EXPECT_EQ(cgroup.events->oom, 3U);
}

TEST_F(memory_pressure_of, the_lower_of_v2s_two_limits_counts) {
  a_v2_cgroup();
  write(v2 + "memory.high", "3758096384\n");
  EXPECT_EQ(good_sample().host.at(1).limit_bytes, 3 * gib + 512 * mib);
  EXPECT_EQ(good_sample().host.at(1).available_bytes, gib);
  write(v2 + "memory.max", "max\n");
  EXPECT_EQ(good_sample().host.at(1).limit_bytes, 3 * gib + 512 * mib);
}

TEST_F(memory_pressure_of, a_v1_cgroup_counts_its_childrens_file_pages) {
  a_v1_cgroup();
  const auto found = good_sample();
  ASSERT_THAT(names(found), ElementsAre("physical memory", "cgroup v1 /jobs/7"));
  const auto& cgroup = found.host[1];
  EXPECT_EQ(cgroup.limit_bytes, 4 * gib);
  EXPECT_EQ(cgroup.available_bytes, gib + 512 * mib);
  EXPECT_FALSE(cgroup.stall);
  ASSERT_TRUE(cgroup.events);
  EXPECT_EQ(cgroup.events->high, 0U);
  EXPECT_EQ(cgroup.events->max, 13U);
  EXPECT_EQ(cgroup.events->oom, 3U);
}

TEST_F(memory_pressure_of, ancestors_count_too_and_those_without_a_limit_do_not) {
  a_v1_cgroup();
  write("sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "8589934592\n");
  write("sys/fs/cgroup/memory/jobs/memory.usage_in_bytes", "8589934591\n");
  write("sys/fs/cgroup/memory/jobs/memory.stat", "total_inactive_file 0\ntotal_active_file 0\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("sys/fs/cgroup/memory/memory.usage_in_bytes", "9000000000\n");
  write("sys/fs/cgroup/memory/memory.stat", "total_inactive_file 0\ntotal_active_file 0\n");
  const auto found = good_sample();
  ASSERT_THAT(names(found), ElementsAre("physical memory", "cgroup v1 /jobs/7", "cgroup v1 /jobs"));
  EXPECT_EQ(found.host[2].available_bytes, 1U);
  EXPECT_FALSE(found.host[2].events);
}

TEST_F(memory_pressure_of, the_huge_number_of_v1_means_none_where_the_machine_says_nothing_too) {
  a_v1_cgroup();
  remove("proc/meminfo");
  write(v1 + "memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_THAT(good_sample().host, IsEmpty());
}

TEST_F(memory_pressure_of, what_is_used_beyond_a_limit_leaves_nothing) {
  a_v2_cgroup();
  write(v2 + "memory.high", "1073741824\n");
  EXPECT_EQ(good_sample().host.at(1).available_bytes, 0U);
  EXPECT_EQ(good_sample().host.at(1).over_bytes, gib + 512 * mib);
  write(v2 + "memory.current", "1000\n");
  EXPECT_EQ(good_sample().host.at(1).available_bytes, gib) << "the files are read one after the other";
  EXPECT_EQ(good_sample().host.at(1).over_bytes, 0U);
}

TEST_F(memory_pressure_of, every_file_but_three_of_a_cgroup_may_be_absent) {
  for (const auto* file : {"memory.events", "memory.pressure", "memory.high"}) {
    SCOPED_TRACE(file);
    a_v2_cgroup();
    remove(v2 + file);
    EXPECT_EQ(good_sample().host.size(), 2U);
  }
  for (const auto* file : {"memory.max", "memory.current", "memory.stat"}) {
    SCOPED_TRACE(file);
    a_v2_cgroup();
    remove(v2 + file);
    EXPECT_EQ(good_sample().host.size(), 1U) << "nobody can tell what is available";
  }
  a_v1_cgroup();
  remove(v1 + "memory.failcnt");
  EXPECT_EQ(good_sample().host.at(1).events->oom, 3U);
  remove(v1 + "memory.oom_control");
  EXPECT_FALSE(good_sample().host.at(1).events);
}

TEST_F(memory_pressure_of, a_cgroup_that_goes_away_is_no_longer_there) {
  a_v2_cgroup();
  const auto source = memory_pressure_source::find(root());
  ASSERT_TRUE(source) << to_text(source.error());
  EXPECT_EQ(source->sample().host.size(), 2U);
  remove(v2);
  EXPECT_EQ(source->sample().host.size(), 1U);
  EXPECT_EQ(source->sample().problem.code, errc{});
}

TEST_F(memory_pressure_of, malformed_stalls_are_a_problem_and_the_rest_counts) {
  for (const auto* text :
       {"", "some\n", "full avg10=0.00 avg60=0.00 avg300=0.00 total=1\n", "some avg10=x avg60=0 avg300=0 total=1\n",
        "some avg10=-1.00 avg60=0 avg300=0 total=1\n", "some avg10=101.0 avg60=0 avg300=0 total=1\n",
        "some avg10=nan avg60=0 avg300=0 total=1\n", "some avg10=1.0 avg60=0 avg300=0 total=-1\n",
        "some avg10=1.0 avg60=0 avg300=0 total=1.5\n", "some avg10=1.0 avg60=0 avg300=0 sum=1\n",
        "some avg60=0 avg10=1.0 avg300=0 total=1\n", "some avg10=1.0 avg60=0 avg300=0 total=1 more\n",
        "some avg10=1e1 avg60=0 avg300=0 total=1\n"}) {
    SCOPED_TRACE(text);
    write("proc/pressure/memory", text);
    expect_problem(errc::bad_format, "proc/pressure/memory");
    EXPECT_EQ(sample().host.at(0).available_bytes, 4 * gib);
    EXPECT_FALSE(sample().host.at(0).stall);
  }
}

TEST_F(memory_pressure_of, malformed_events_are_a_problem_and_the_rest_counts) {
  a_v2_cgroup();
  for (const auto* text : {"high\n", "high many\n", "max -1\n", "oom 1 2\n", "oom_kill 99999999999999999999\n"}) {
    SCOPED_TRACE(text);
    write(v2 + "memory.events", text);
    expect_problem(errc::bad_format, v2 + "memory.events");
    EXPECT_EQ(sample().host.at(1).limit_bytes, 4 * gib);
    EXPECT_FALSE(sample().host.at(1).events);
  }
  a_v1_cgroup();
  write(v1 + "memory.failcnt", "often\n");
  expect_problem(errc::bad_format, v1 + "memory.failcnt");
  EXPECT_FALSE(sample().host.at(1).events);
}

TEST_F(memory_pressure_of, a_level_whose_numbers_make_no_sense_is_a_problem_and_does_not_count) {
  for (const auto* file : {"memory.max", "memory.current", "memory.stat"}) {
    SCOPED_TRACE(file);
    a_v2_cgroup();
    write(v2 + file, "inactive_file lots\n");
    expect_problem(errc::bad_format, v2 + file);
    EXPECT_THAT(names(sample()), ElementsAre("physical memory"));
  }
}

TEST_F(memory_pressure_of, malformed_meminfo_is_a_problem_and_the_cgroup_counts) {
  a_v2_cgroup();
  for (const auto* text : {"", "MemAvailable: 1 kB\n", "MemTotal: 5 MB\n", "MemTotal: 5 kB\nMemAvailable: some kB\n"}) {
    SCOPED_TRACE(text);
    write("proc/meminfo", text);
    expect_problem(errc::bad_format, "proc/meminfo");
    EXPECT_THAT(names(sample()), ElementsAre("cgroup v2 /a"));
  }
}

TEST_F(memory_pressure_of, a_folder_where_a_file_should_be_is_a_problem) {
  fs::create_directories(*this / "proc/pressure/memory");
  expect_problem(errc::io_failed, "proc/pressure/memory");
}

TEST_F(memory_pressure_of, cgroups_that_cannot_be_told_are_an_error_at_once) {
  processes("nonsense\n", v2_mount);
  const auto source = memory_pressure_source::find(root());
  ASSERT_FALSE(source);
  EXPECT_EQ(source.error().code, errc::bad_format);
  EXPECT_EQ(source.error().path, *this / "proc/self/cgroup");
}

TEST(memory_pressure_here, this_machine_has_memory_and_makes_sense) {
  const auto source = memory_pressure_source::find();
  ASSERT_TRUE(source) << to_text(source.error());
  const auto sample = source->sample();
  EXPECT_EQ(sample.problem.code, errc{}) << to_text(sample.problem);
  ASSERT_FALSE(sample.host.empty());
  for (const auto& level : sample.host) {
    EXPECT_GT(level.limit_bytes, 0U) << level.name;
    EXPECT_LE(level.available_bytes, level.limit_bytes) << level.name;
  }
}

}  // namespace
