#include "io/part_file.hpp"

#include <cerrno>
#include <cstdio>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

namespace longshore {

part_file::part_file(std::string path, size_t buffer_bytes) : path_{std::move(path)}, buffer_bytes_{buffer_bytes} {
  fd_ = ::open(part_path().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  part_exists_ = fd_ >= 0;
  if (fd_ < 0)
    fail("cannot create the file");
}

part_file::~part_file() { discard(); }

void part_file::appended() {
  if (buffer_.size() >= buffer_bytes_)
    (void)write_out();  // kept, and given by the next call that can say so
}

expected<void> part_file::write_out() {
  std::string_view rest = buffer_;
  while (!rest.empty() && !failure_) {
    const auto done = ::write(fd_, rest.data(), rest.size());
    if (done >= 0)
      rest.remove_prefix(static_cast<size_t>(done));
    else if (errno != EINTR)
      fail("cannot write the file");
  }
  buffer_.clear();
  return status();
}

expected<void> part_file::commit() {
  if (auto written = write_out(); !written)
    return written;
  if (::close(std::exchange(fd_, -1)) != 0)
    fail("cannot close the file");
  else if (std::rename(part_path().c_str(), path_.c_str()) != 0)
    fail("cannot give the finished file its name");
  else
    part_exists_ = false;
  return status();
}

expected<void> part_file::status() const {
  if (failure_)
    return unexpected{*failure_};
  return {};
}

void part_file::fail(const char* what) {
  failure_ = error{.code = errc::io_failed, .what = what, .path = path_, .os_error = errno};
  discard();
}

void part_file::discard() {
  if (fd_ >= 0)
    ::close(std::exchange(fd_, -1));
  if (std::exchange(part_exists_, false))
    ::unlink(part_path().c_str());
}

}  // namespace longshore
