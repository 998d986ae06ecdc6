// How short of memory a real cgroup is, while a process in it takes memory and reads files.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>

#include "cache/pressure_rule.hpp"
#include "io/memory_pressure.hpp"
#include "tests/faults/child_process.hpp"
#include "tests/faults/memory_cgroup.hpp"
#include "tests/io/system_tree.hpp"

using namespace longshore;

namespace {

constexpr uint64_t mib = 1 << 20;
constexpr uint64_t cgroup_bytes = 512 * mib;
constexpr uint64_t slack_bytes = 24 * mib;  // the process's own, and what the kernel counts in batches

/// A byte on a pipe: the test and the process in the cgroup take turns.
class turn {
public:
  turn() { EXPECT_EQ(::pipe2(fds_.data(), O_CLOEXEC), 0); }
  ~turn() {
    ::close(fds_[0]);
    ::close(fds_[1]);
  }
  turn(const turn&) = delete;
  turn& operator=(const turn&) = delete;

  bool give() const { return ::write(fds_[1], "x", 1) == 1; }
  bool wait() const {
    pollfd ready{.fd = fds_[0], .events = POLLIN, .revents = 0};
    char byte = 0;
    return ::poll(&ready, 1, 60'000) == 1 && ::read(fds_[0], &byte, 1) == 1;
  }

private:
  std::array<int, 2> fds_{};
};

bool take_memory(uint64_t bytes) {
  return ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0) !=
         MAP_FAILED;
}

bool read_whole(const char* path) {
  static std::array<char, mib> buffer;
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  ssize_t count = 1;
  while (count > 0)
    count = ::read(fd, buffer.data(), buffer.size());
  ::close(fd);
  return count == 0;
}

class cgroup_pressure : public testing::Test {
protected:
  void SetUp() override {
    ASSERT_EQ(cgroup.problem(), "")
        << "a memory cgroup is needed, which takes root and cgroup file systems that can be written. "
           "Set LONGSHORE_NO_CGROUP=1 to build without these tests";
    tree.write("proc/self/cgroup", (cgroup.is_v1() ? "4:memory:" : "0::") + cgroup.name() + "\n");
    tree.write("proc/self/mountinfo", cgroup.is_v1() ? system_tree::v1_mount : system_tree::v2_mount);
    fs::create_directory_symlink("/sys", tree / "sys");
    file = folder / "large";
    write_file(file, std::string{});
    fs::resize_file(file, 600 * mib);
  }

  /// The cgroup as it is now, and what the rule says of it.
  memory_level level() {
    auto source = memory_pressure_source::find(tree.root());
    EXPECT_TRUE(source) << to_text(source.error());
    auto sample = source->sample();
    EXPECT_EQ(sample.problem.code, errc{}) << to_text(sample.problem);
    EXPECT_EQ(sample.host.size(), 1U);
    wanted_bytes = rule.judge(sample, std::chrono::milliseconds{100}).host.wanted_bytes;
    return sample.host.empty() ? memory_level{} : sample.host.front();
  }

  test_folder folder;
  system_tree tree;
  memory_cgroup cgroup{cgroup_bytes};
  std::string file;
  pressure_rule rule;
  uint64_t wanted_bytes = 0;
};

TEST_F(cgroup_pressure, files_that_are_read_are_none_and_memory_that_is_taken_is) {
  EXPECT_GE(level().available_bytes, cgroup_bytes - slack_bytes);
  const turn to_child, to_test;
  child_process taker{{"taker"}, [&] {
                        return cgroup.enter() && read_whole(file.c_str()) && to_test.give() && to_child.wait() &&
                               take_memory(300 * mib) && to_test.give() && to_child.wait() && take_memory(150 * mib) &&
                               to_test.give() && to_child.wait() && false;
                      }};
  ASSERT_TRUE(to_test.wait());
  const auto after_reading = level();
  EXPECT_EQ(after_reading.limit_bytes, cgroup_bytes);
  EXPECT_GE(after_reading.available_bytes, cgroup_bytes - slack_bytes);
  ASSERT_TRUE(after_reading.events);
  EXPECT_GT(after_reading.events->max, 0U) << "600 MiB of file pages do not fit, and the kernel dropped some";
  EXPECT_EQ(wanted_bytes, 0U);

  ASSERT_TRUE(to_child.give() && to_test.wait());
  const auto half_full = level();
  EXPECT_LE(half_full.available_bytes, cgroup_bytes - 300 * mib);
  EXPECT_GE(half_full.available_bytes, cgroup_bytes - 300 * mib - slack_bytes);
  EXPECT_EQ(wanted_bytes, 0U);

  ASSERT_TRUE(to_child.give() && to_test.wait());
  const auto full = level();
  const auto marks = marks_of(cgroup_bytes);
  EXPECT_LT(full.available_bytes, marks.low_bytes);
  EXPECT_GE(full.available_bytes + wanted_bytes, marks.low_bytes + marks.slack_bytes);

  ASSERT_TRUE(to_child.give());
  EXPECT_EQ(taker.wait(), 126);
  EXPECT_GE(level().available_bytes, cgroup_bytes - slack_bytes);
  EXPECT_EQ(wanted_bytes, 0U);
}

}  // namespace
