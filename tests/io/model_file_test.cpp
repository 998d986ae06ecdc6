// Open files and their identity: whatever happens to a path while its file loads is noticed.
#include "io/model_file.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>

#include "tests/io/test_files.hpp"

using namespace longshore;

namespace {

class model_file_of : public testing::Test {
protected:
  model_file_of() { write_file(path, content); }

  model_file open() {
    auto file = model_file::open(path);
    if (!file)
      throw std::runtime_error(to_text(file.error()));
    return std::move(*file);
  }

  static void expect_changed(const model_file& file, const std::string& what) {
    const auto same = file.check_unchanged();
    ASSERT_FALSE(same);
    EXPECT_EQ(same.error().code, errc::changed_on_disk);
    EXPECT_EQ(same.error().path, file.path());
    EXPECT_NE(same.error().what.find(what), std::string::npos) << same.error().what;
  }

  static void expect_error(const std::string& at, errc code, int os_error) {
    const auto file = model_file::open(at);
    ASSERT_FALSE(file) << at;
    EXPECT_EQ(file.error().code, code) << to_text(file.error());
    EXPECT_EQ(file.error().os_error, os_error) << to_text(file.error());
    EXPECT_EQ(file.error().path, at);
  }

  test_folder folder;
  std::string path = folder / "model.safetensors";
  byte_vector content = made_bytes(10'000, 3);
};

TEST_F(model_file_of, knows_what_stat_says) {
  const auto file = open();
  struct stat s{};
  ASSERT_EQ(::stat(path.c_str(), &s), 0);
  EXPECT_EQ(file.identity().device, s.st_dev);
  EXPECT_EQ(file.identity().inode, s.st_ino);
  EXPECT_EQ(file.identity().mtime_ns, s.st_mtim.tv_sec * 1'000'000'000 + s.st_mtim.tv_nsec);
  EXPECT_EQ(file.identity().ctime_ns, s.st_ctim.tv_sec * 1'000'000'000 + s.st_ctim.tv_nsec);
  EXPECT_EQ(file.size_bytes(), 10'000u);
  EXPECT_EQ(file.identity(), *identity_of(path));
  EXPECT_EQ(file.path(), path);
}

TEST_F(model_file_of, both_descriptors_are_of_one_inode) {
  const auto file = open();
  ASSERT_GE(file.direct_fd(), 0) << "the tests run on a file system without O_DIRECT";
  struct stat a{}, b{};
  ASSERT_EQ(::fstat(file.fd(), &a), 0);
  ASSERT_EQ(::fstat(file.direct_fd(), &b), 0);
  EXPECT_EQ(a.st_ino, b.st_ino);
  EXPECT_TRUE(::fcntl(file.direct_fd(), F_GETFL) & O_DIRECT);
  EXPECT_FALSE(::fcntl(file.fd(), F_GETFL) & O_DIRECT);
  EXPECT_TRUE(::fcntl(file.fd(), F_GETFD) & FD_CLOEXEC);
  EXPECT_TRUE(::fcntl(file.direct_fd(), F_GETFD) & FD_CLOEXEC);
}

TEST_F(model_file_of, its_alignment_serves_a_direct_read) {
  const auto file = open();
  const auto alignment = file.direct_alignment_bytes();
  EXPECT_GE(alignment, 4096u);
  EXPECT_EQ(alignment & (alignment - 1), 0u);
  const page_memory memory{alignment};
  EXPECT_EQ(::pread(file.direct_fd(), memory.data(), alignment, 0),
            static_cast<ssize_t>(std::min<size_t>(alignment, 10'000)));
}

TEST_F(model_file_of, closes_what_it_opened) {
  int fd = -1, direct_fd = -1;
  {
    auto file = open();
    fd = file.fd(), direct_fd = file.direct_fd();
    model_file moved{std::move(file)};
    EXPECT_EQ(file.fd(), -1);
    auto other = open();
    other = std::move(moved);
    EXPECT_EQ(other.fd(), fd);
  }
  EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
  EXPECT_EQ(::fcntl(direct_fd, F_GETFD), -1);
}

TEST_F(model_file_of, refuses_what_is_no_regular_file) {
  ASSERT_EQ(::mkfifo((folder / "fifo").c_str(), 0600), 0);
  expect_error(folder / "fifo", errc::unsupported, 0);  // and does not wait for a writer
  expect_error(folder.path(), errc::unsupported, 0);
  expect_error("/dev/null", errc::unsupported, 0);
}

TEST_F(model_file_of, says_what_it_cannot_find_or_open) {
  expect_error(folder / "missing", errc::not_found, ENOENT);
  expect_error(path + "/below", errc::not_found, ENOTDIR);
  fs::create_symlink("loop", folder / "loop");
  expect_error(folder / "loop", errc::io_failed, ELOOP);
  EXPECT_EQ(identity_of(folder / "missing").error().code, errc::not_found);
}

TEST_F(model_file_of, reads_exactly_or_says_where_the_file_ended) {
  const auto file = open();
  byte_vector bytes(999);
  ASSERT_TRUE(file.read_at(bytes, 9001));
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), content.begin() + 9001));
  EXPECT_TRUE(file.read_at(std::span<std::byte>{}, 123'456));
  const auto beyond = file.read_at(bytes, 9500);
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.error().code, errc::bad_format);
  EXPECT_EQ(beyond.error().offset_bytes, 10'000u);
  EXPECT_EQ(beyond.error().path, path);
}

TEST_F(model_file_of, an_untouched_file_is_unchanged) {
  const auto file = open();
  byte_vector bytes(content.size());
  ASSERT_TRUE(file.read_at(bytes, 0));
  EXPECT_TRUE(file.check_unchanged());
}

TEST_F(model_file_of, notices_writes) {
  const auto file = open();
  ASSERT_EQ(::pwrite(test_fd{path, O_WRONLY}, "x", 1, 5), 1);
  const timespec times[2] = {{.tv_sec = 1, .tv_nsec = 1}, {.tv_sec = 1, .tv_nsec = 1}};  // the clock may be coarse
  ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  expect_changed(file, "written to");
}

TEST_F(model_file_of, notices_truncation) {
  const auto file = open();
  fs::resize_file(path, 9999);
  expect_changed(file, "written to");
}

TEST_F(model_file_of, notices_another_file_under_its_name) {
  write_file(folder / "other", content);
  const auto file = open();
  const auto inode = file.identity().inode;
  fs::rename(path, folder / "kept");  // a rename alone may change the ctime, so the open file is told by its own stat
  fs::rename(folder / "other", path);
  const auto same = file.check_unchanged();
  ASSERT_FALSE(same);
  EXPECT_EQ(same.error().code, errc::changed_on_disk);
  EXPECT_NE(identity_of(path)->inode, inode);
}

TEST_F(model_file_of, notices_that_a_link_leads_elsewhere) {
  write_file(folder / "other", content);
  fs::create_symlink(path, folder / "link");
  auto file = model_file::open(folder / "link");
  ASSERT_TRUE(file) << to_text(file.error());
  EXPECT_EQ(file->identity(), *identity_of(path));
  fs::remove(folder / "link");
  fs::create_symlink(folder / "other", folder / "link");
  expect_changed(*file, "another file took this name");
}

TEST_F(model_file_of, notices_that_its_name_is_gone) {
  const auto file = open();
  fs::remove(path);
  const auto same = file.check_unchanged();
  ASSERT_FALSE(same);
  EXPECT_EQ(same.error().code, errc::changed_on_disk);
}

}  // namespace
