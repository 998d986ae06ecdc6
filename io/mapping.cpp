#include "io/mapping.hpp"

#include <cerrno>
#include <utility>

#include <sys/mman.h>

namespace longshore {

expected<mapping> mapping::of(const model_file& file) {
  mapping result;
  if (file.size_bytes() == 0)
    return result;
  // Pages that are written to are seldom many: not reserved, or a system that reserves strictly would refuse the rest.
  auto* data = ::mmap(nullptr, file.size_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file.fd(), 0);
  if (data == MAP_FAILED)
    return unexpected(
        error{.code = errc::io_failed, .what = "cannot map the file", .path = file.path(), .os_error = errno});
  result.data_ = static_cast<std::byte*>(data);
  result.size_bytes_ = file.size_bytes();
  return result;
}

mapping::mapping(mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_bytes_(std::exchange(other.size_bytes_, 0)) {}

mapping& mapping::operator=(mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  return *this;
}

mapping::~mapping() {
  if (data_ != nullptr)
    ::munmap(data_, size_bytes_);
}

}  // namespace longshore
