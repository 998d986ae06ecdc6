// What the page cache holds, by both ways of asking, against a third that the test makes itself.
#include "io/page_cache.hpp"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include <cerrno>
#include <thread>

#include "tests/io/test_files.hpp"

using namespace longshore;

namespace {

constexpr size_t file_bytes = 64 * 4096 + 10;

class page_cache_of : public testing::Test {
protected:
  page_cache_of() {
    write_file(path, made_bytes(file_bytes, 5));
    make_cold(path);
  }

  /// Brings in exactly the pages of [offset, offset + length), without reading ahead.
  void warm(off_t offset, size_t length) const {
    const test_fd file{path};
    ASSERT_EQ(::posix_fadvise(file, 0, 0, POSIX_FADV_RANDOM), 0);
    byte_vector bytes(length);
    ASSERT_EQ(::pread(file, bytes.data(), length, offset), static_cast<ssize_t>(length));
  }

  uint64_t resident(uint64_t offset, uint64_t length) const {
    const test_fd file{path};
    const auto bytes = resident_bytes(file, offset, length);
    EXPECT_TRUE(bytes) << to_text(bytes.error());
    return bytes.value_or(~uint64_t{0});
  }

  void expect_what_was_read() const {
    EXPECT_EQ(resident(0, file_bytes), 0u);
    warm(8 * 4096, 4 * 4096);
    const test_fd file{path};
    const page_memory mapped{file_bytes, file};
    EXPECT_EQ(resident(0, file_bytes), pages_in_memory(mapped.data(), file_bytes) * 4096);
    EXPECT_EQ(resident(0, file_bytes), 4u * 4096);
    EXPECT_EQ(resident(0, 8 * 4096), 0u);
    EXPECT_EQ(resident(8 * 4096, 4096), 4096u);
    EXPECT_EQ(resident(10 * 4096, 8 * 4096), 2u * 4096);
    EXPECT_EQ(resident(8 * 4096 + 100, 50), 50u);  // never more than was asked about
    EXPECT_EQ(resident(0, 0), 0u);
    const auto closed = resident_bytes(-1, 0, 4096);
    ASSERT_FALSE(closed);
    EXPECT_EQ(closed.error().code, errc::io_failed);
    EXPECT_EQ(closed.error().os_error, EBADF);
  }

  test_folder folder;
  std::string path = folder / "bytes";
};

TEST_F(page_cache_of, says_what_was_read) { expect_what_was_read(); }

TEST_F(page_cache_of, a_whole_cached_file_is_all_resident) {
  warm(0, file_bytes);
  EXPECT_EQ(resident(0, file_bytes), file_bytes);
  EXPECT_EQ(resident(1, file_bytes - 1), file_bytes - 1);
}

TEST_F(page_cache_of, can_be_judged_by_samples) {
  constexpr uint64_t mebibyte = 1 << 20;
  const auto large = folder / "large";
  write_file(large, made_bytes(8 * mebibyte + 10, 6));
  const test_fd file{large};
  const auto estimate = [&](uint64_t offset, uint64_t length) {
    return estimated_resident_bytes(file, offset, length).value_or(~uint64_t{0});
  };
  make_cold(large);
  EXPECT_EQ(estimate(0, 8 * mebibyte + 10), 0u);
  ASSERT_EQ(::posix_fadvise(file, 0, 0, POSIX_FADV_RANDOM), 0);
  byte_vector half(4 * mebibyte);
  ASSERT_EQ(::pread(file, half.data(), half.size(), 0), static_cast<ssize_t>(half.size()));
  EXPECT_EQ(estimate(0, 4 * mebibyte), 4 * mebibyte);
  EXPECT_EQ(estimate(4 * mebibyte, 4 * mebibyte), 0u);
  EXPECT_EQ(estimate(0, 8 * mebibyte), 4 * mebibyte);
  EXPECT_EQ(estimate(10, 50), 50u);
  EXPECT_EQ(estimate(0, 0), 0u);
  EXPECT_FALSE(estimated_resident_bytes(-1, 0, mebibyte));
}

TEST_F(page_cache_of, lets_go_of_a_range) {
  warm(0, file_bytes);
  const test_fd file{path};
  drop_from_page_cache(file, 0, 32 * 4096);
  EXPECT_EQ(resident(0, 32 * 4096), 0u);
  EXPECT_EQ(resident(32 * 4096, 32 * 4096), 32u * 4096);
}

/// Makes cachestat fail with ENOSYS, as before Linux 6.5, on the calling thread only.
void take_cachestat_away() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 451, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog filter{.len = 4, .filter = program};
  ASSERT_EQ(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0) << errno;
}

TEST_F(page_cache_of, says_the_same_where_the_kernel_has_no_cachestat) {
  std::thread old_kernel([this] {
    take_cachestat_away();
    expect_what_was_read();
  });
  old_kernel.join();
}

}  // namespace
