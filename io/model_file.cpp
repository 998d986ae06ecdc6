#include "io/model_file.hpp"

#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <linux/stat.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace longshore {
namespace {

file_identity identity_from(const struct stat& s) {
  auto ns = [](const timespec& t) { return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec; };
  return {.device = s.st_dev,
          .inode = s.st_ino,
          .size_bytes = static_cast<uint64_t>(s.st_size),
          .mtime_ns = ns(s.st_mtim),
          .ctime_ns = ns(s.st_ctim)};
}

error system_error(const std::string& path, std::string what, int code) {
  auto kind = code == ENOENT || code == ENOTDIR ? errc::not_found : errc::io_failed;
  return {.code = kind, .what = std::move(what), .path = path, .os_error = code};
}

/// glibc 2.36 knows statx but not yet stx_dio_mem_align, so the kernel's own header describes the answer.
uint64_t query_direct_alignment(int fd) {
  constexpr uint64_t page_bytes = 4096;
  struct statx answer = {};
  if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &answer) != 0 || !(answer.stx_mask & STATX_DIOALIGN))
    return page_bytes;
  if (answer.stx_dio_offset_align == 0)
    return 0;
  return std::max<uint64_t>({answer.stx_dio_offset_align, answer.stx_dio_mem_align, page_bytes});
}

}  // namespace

expected<file_identity> identity_of(const std::string& path) {
  struct stat s;
  if (::stat(path.c_str(), &s) != 0)
    return unexpected(system_error(path, "cannot look at the file", errno));
  return identity_from(s);
}

expected<model_file> model_file::open(const std::string& path) {
  model_file file;
  file.path_ = path;
  // O_NONBLOCK: opening a FIFO must not wait for a writer. It has no effect on regular files.
  file.fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file.fd_ < 0)
    return unexpected(system_error(path, "cannot open the file", errno));
  struct stat s;
  if (::fstat(file.fd_, &s) != 0)
    return unexpected(system_error(path, "cannot look at the file", errno));
  if (!S_ISREG(s.st_mode)) {
    const auto* what = S_ISDIR(s.st_mode) ? "is a folder; name a .safetensors file in it" : "is not a regular file";
    return unexpected(error{.code = errc::unsupported, .what = what, .path = path});
  }
  file.identity_ = identity_from(s);
  file.open_direct();
  return file;
}

/// Reopens through /proc, since the path may lead elsewhere by now.
void model_file::open_direct() {
  direct_fd_ = ::open(("/proc/self/fd/" + std::to_string(fd_)).c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
  if (direct_fd_ < 0)
    return;
  direct_alignment_bytes_ = query_direct_alignment(direct_fd_);
  if (direct_alignment_bytes_ == 0) {
    ::close(direct_fd_);
    direct_fd_ = -1;
    direct_alignment_bytes_ = 4096;
  }
}

model_file::model_file(model_file&& other) noexcept
    : path_(std::move(other.path_)),
      identity_(other.identity_),
      fd_(std::exchange(other.fd_, -1)),
      direct_fd_(std::exchange(other.direct_fd_, -1)),
      direct_alignment_bytes_(other.direct_alignment_bytes_) {}

model_file& model_file::operator=(model_file&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(identity_, other.identity_);
  std::swap(fd_, other.fd_);
  std::swap(direct_fd_, other.direct_fd_);
  std::swap(direct_alignment_bytes_, other.direct_alignment_bytes_);
  return *this;
}

model_file::~model_file() {
  if (fd_ >= 0)
    ::close(fd_);
  if (direct_fd_ >= 0)
    ::close(direct_fd_);
}

expected<void> model_file::read_at(std::span<std::byte> destination, uint64_t offset_bytes) const {
  while (!destination.empty()) {
    auto n = ::pread(fd_, destination.data(), destination.size(), static_cast<off_t>(offset_bytes));
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return unexpected(error{.code = errc::io_failed,
                              .what = "cannot read the file",
                              .path = path_,
                              .offset_bytes = offset_bytes,
                              .os_error = errno});
    if (n == 0)
      return unexpected(error{.code = errc::bad_format,
                              .what = "the file ends early; download it again",
                              .path = path_,
                              .offset_bytes = offset_bytes});
    destination = destination.subspan(static_cast<size_t>(n));
    offset_bytes += static_cast<uint64_t>(n);
  }
  return {};
}

expected<void> model_file::check_unchanged() const {
  auto changed = [&](const char* what) {
    return unexpected(error{.code = errc::changed_on_disk, .what = what, .path = path_});
  };
  struct stat s;
  if (::fstat(fd_, &s) != 0)
    return unexpected(system_error(path_, "cannot look at the open file", errno));
  if (identity_from(s) != identity_)
    return changed("the file was written to while it loaded; load it again once it is complete");
  auto now = identity_of(path_);
  if (!now || *now != identity_)
    return changed("another file took this name while it loaded; load it again");
  return {};
}

}  // namespace longshore
