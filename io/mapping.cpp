#include "io/mapping.hpp"

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include <sys/mman.h>

namespace longshore {
namespace {

constexpr uint64_t populate_step_bytes = 8 << 20;  // short enough for an end to come soon

/// Every `count`th step of the mapping, from the `first`.
void populate(std::byte* data, uint64_t size_bytes, uint64_t first, uint64_t count, const std::stop_token& stop) {
  for (auto at = first * populate_step_bytes; at < size_bytes && !stop.stop_requested();
       at += count * populate_step_bytes)
    if (::madvise(data + at, std::min(populate_step_bytes, size_bytes - at), MADV_POPULATE_READ) != 0)
      return;  // an old kernel: each page comes with its first use
}

}  // namespace

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
    : data_(std::exchange(other.data_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)),
      populators_(std::move(other.populators_)) {}

mapping& mapping::operator=(mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  populators_.swap(other.populators_);
  return *this;
}

void mapping::populate_behind() {
  const auto count = std::clamp<uint64_t>(std::thread::hardware_concurrency(), 1, populators_.size());
  try {
    for (uint64_t first = 0; first < count; ++first)
      populators_[first] =
          std::jthread{[data = data_, size_bytes = size_bytes_, first, count](const std::stop_token& stop) {
            populate(data, size_bytes, first, count, stop);
          }};
  } catch (const std::system_error&) {
    populators_ = {};  // no thread to be had: each page comes with its first use
  }
}

mapping::~mapping() {
  populators_ = {};  // they need the pages
  if (data_ != nullptr)
    ::munmap(data_, size_bytes_);
}

}  // namespace longshore
