// The memory limit as made-up /proc and /sys trees tell it, and once as this machine does.
#include "io/memory_limit.hpp"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/io/system_tree.hpp"

using namespace longshore;

namespace {

constexpr uint64_t gib = uint64_t{1} << 30;

class memory_limit_of : public testing::Test, protected system_tree {
protected:
  void expect(uint64_t bytes, const std::string& source) {
    auto limit = effective_memory_limit(root());
    ASSERT_TRUE(limit) << to_text(limit.error());
    EXPECT_EQ(limit->bytes, bytes);
    EXPECT_EQ(limit->source, source);
  }
  void expect_error(errc code, const std::string& path) {
    auto limit = effective_memory_limit(root());
    ASSERT_FALSE(limit) << limit->source;
    EXPECT_EQ(limit.error().code, code);
    EXPECT_EQ(limit.error().path, *this / path);
  }
};

TEST_F(memory_limit_of, a_machine_without_cgroups_is_its_ram) { expect(16 * gib, "physical memory"); }

TEST_F(memory_limit_of, a_v2_cgroup_is_its_memory_max) {
  processes("0::/a/b\n", disk_mount + v2_mount);
  write("sys/fs/cgroup/a/b/memory.max", "4294967296\n");
  write("sys/fs/cgroup/a/b/memory.high", "max\n");
  expect(4 * gib, "cgroup v2 memory.max of /a/b");
}

TEST_F(memory_limit_of, v2_memory_high_counts_as_a_limit) {
  processes("0::/a/b\n", v2_mount);
  write("sys/fs/cgroup/a/b/memory.max", "4294967296\n");
  write("sys/fs/cgroup/a/b/memory.high", "3221225472\n");
  expect(3 * gib, "cgroup v2 memory.high of /a/b");
}

TEST_F(memory_limit_of, the_lowest_ancestor_of_a_v2_cgroup_rules) {
  processes("0::/a/b/c\n", v2_mount);
  write("sys/fs/cgroup/a/b/c/memory.max", "max\n");
  write("sys/fs/cgroup/a/b/memory.max", "8589934592\n");
  write("sys/fs/cgroup/a/memory.max", "2147483648\n");
  expect(2 * gib, "cgroup v2 memory.max of /a");
}

TEST_F(memory_limit_of, max_everywhere_and_limits_above_the_ram_mean_none) {
  processes("0::/a\n", v2_mount);
  write("sys/fs/cgroup/a/memory.max", "max\n");
  write("sys/fs/cgroup/a/memory.high", "max\n");
  expect(16 * gib, "physical memory");
  write("sys/fs/cgroup/a/memory.max", "17179869185\n");
  expect(16 * gib, "physical memory");
}

TEST_F(memory_limit_of, a_v1_cgroup_is_its_limit_in_bytes) {
  processes("5:devices:/\n4:memory:/jobs/7\n", v1_mount);
  write("sys/fs/cgroup/memory/jobs/7/memory.limit_in_bytes", "1073741824\n");
  expect(gib, "cgroup v1 memory.limit_in_bytes of /jobs/7");
}

TEST_F(memory_limit_of, the_huge_number_of_v1_means_none_and_its_ancestors_count) {
  processes("4:memory:/jobs/7\n", v1_mount);
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("sys/fs/cgroup/memory/jobs/7/memory.limit_in_bytes", "9223372036854771712\n");
  expect(16 * gib, "physical memory");
  write("sys/fs/cgroup/memory/jobs/memory.limit_in_bytes", "5368709120\n");
  expect(5 * gib, "cgroup v1 memory.limit_in_bytes of /jobs");
}

TEST_F(memory_limit_of, memory_may_share_a_v1_hierarchy_with_other_controllers) {
  processes("4:cpu,memory,pids:/x\n", "1 2 0:3 / /cg rw - cgroup none rw,cpu,memory,pids\n");
  write("cg/x/memory.limit_in_bytes", "1073741824\n");
  expect(gib, "cgroup v1 memory.limit_in_bytes of /x");
}

TEST_F(memory_limit_of, a_hybrid_machine_has_its_memory_in_v1_beside_an_empty_v2) {
  processes("8:pids:/\n4:memory:/jobs/7\n0::/\n",
            v1_mount + "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n");
  write("sys/fs/cgroup/memory/jobs/7/memory.limit_in_bytes", "1073741824\n");
  write("sys/fs/cgroup/unified/cgroup.procs", "1\n");
  expect(gib, "cgroup v1 memory.limit_in_bytes of /jobs/7");
}

TEST_F(memory_limit_of, other_controllers_do_not_matter) {
  processes("4:memoryless:/x\n3:cpu:/x\n", "1 2 0:3 / /cg rw - cgroup none rw,cpu\n" + v1_mount);
  write("cg/x/memory.limit_in_bytes", "1\n");
  write("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "1\n");
  expect(16 * gib, "physical memory");
}

TEST_F(memory_limit_of, a_container_sees_its_cgroup_as_the_top_of_the_mount) {
  processes("4:memory:/docker/abc/inner\n",
            "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n");
  write("sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "1073741824\n");
  expect(gib, "cgroup v1 memory.limit_in_bytes of /inner");
  processes("4:memory:/docker/abc\n", "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
  expect(2 * gib, "cgroup v1 memory.limit_in_bytes of /");
}

TEST_F(memory_limit_of, a_cgroup_that_the_mount_does_not_show_is_its_top) {
  write("sys/fs/cgroup/memory.max", "2147483648\n");
  for (const auto* cgroup : {"0::/kubepods/pod1/abc\n", "0::/../other\n", "0::/..\n", "0::/\n"}) {
    SCOPED_TRACE(cgroup);
    processes(cgroup, v2_mount);
    expect(2 * gib, "cgroup v2 memory.max of /");
  }
  processes("0::/docker/abcdef\n", "41 31 0:38 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  expect(2 * gib, "cgroup v2 memory.max of /");
}

TEST_F(memory_limit_of, a_mount_point_may_have_blanks) {
  processes("0::/a\n", "41 31 0:38 / /my\\040groups rw - cgroup2 cgroup2 rw\n");
  write("my groups/a/memory.max", "1073741824");
  expect(gib, "cgroup v2 memory.max of /a");
}

TEST_F(memory_limit_of, a_limit_of_nothing_is_a_limit) {
  processes("0::/a\n", v2_mount);
  write("sys/fs/cgroup/a/memory.max", "0\n");
  expect(0, "cgroup v2 memory.max of /a");
}

TEST_F(memory_limit_of, a_limit_that_makes_no_sense_is_an_error_and_not_none) {
  processes("0::/a\n", v2_mount);
  for (const auto* text : {"", "\n", "lots\n", "-1\n", "12 34\n", "4G\n", "99999999999999999999\n"}) {
    SCOPED_TRACE(text);
    write("sys/fs/cgroup/a/memory.max", text);
    expect_error(errc::bad_format, "sys/fs/cgroup/a/memory.max");
  }
}

TEST_F(memory_limit_of, malformed_meminfo_is_an_error) {
  for (const auto* text : {"", "MemFree: 1 kB\n", "MemTotal:\n", "MemTotal: many kB\n", "MemTotal: 0 kB\n",
                           "MemTotal: 5 MB\n", "MemTotal: 18446744073709551615 kB\n"}) {
    SCOPED_TRACE(text);
    write("proc/meminfo", text);
    expect_error(errc::bad_format, "proc/meminfo");
  }
  remove("proc/meminfo");
  expect_error(errc::io_failed, "proc/meminfo");
}

TEST_F(memory_limit_of, malformed_cgroup_and_mount_lines_are_errors) {
  for (const auto* text : {"nonsense\n", "4:memory\n", "0::\n", "0::a/b\n"}) {
    SCOPED_TRACE(text);
    processes(text, v2_mount);
    expect_error(errc::bad_format, "proc/self/cgroup");
  }
  for (const auto* text :
       {"nonsense\n", "1 2 0:3 / /cg rw cgroup2 x rw\n", "1 2 - cgroup2\n", "1 2 0:3 / /cg rw -\n"}) {
    SCOPED_TRACE(text);
    processes("0::/a\n", text);
    expect_error(errc::bad_format, "proc/self/mountinfo");
  }
}

TEST_F(memory_limit_of, a_folder_where_a_file_should_be_is_an_error) {
  processes("0::/a\n", v2_mount);
  fs::create_directories(*this / "sys/fs/cgroup/a/memory.max");
  expect_error(errc::io_failed, "sys/fs/cgroup/a/memory.max");
}

TEST(memory_limit_here, this_machine_has_one) {
  auto limit = effective_memory_limit();
  ASSERT_TRUE(limit) << to_text(limit.error());
  EXPECT_GT(limit->bytes, 0u);
  EXPECT_LT(default_host_limit_bytes(*limit), limit->bytes);
}

TEST(default_host_limit, leaves_a_share_and_never_takes_all) {
  EXPECT_EQ(default_host_limit_bytes({100 * gib, ""}), 80 * gib) << "a fifth stays";
  EXPECT_EQ(default_host_limit_bytes({8 * gib, ""}), 6 * gib) << "2 GiB stay";
  EXPECT_EQ(default_host_limit_bytes({3 * gib, ""}), 3 * gib / 2) << "half stays";
  EXPECT_EQ(default_host_limit_bytes({0, ""}), 0u);
  EXPECT_EQ(default_host_limit_bytes({1000, ""}, {.min_left_bytes = 100, .left_percent = 30}), 700u);
  EXPECT_LT(default_host_limit_bytes({UINT64_MAX, ""}), UINT64_MAX);
}

}  // namespace
