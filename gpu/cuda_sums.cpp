#include "gpu/cuda_sums.hpp"

#include <cstdlib>
#include <numeric>

namespace longshore {
namespace {

constexpr size_t page_bytes = 4096;

}  // namespace

cuda_sums::cuda_sums(const cuda_calls& calls, size_t count)
    : calls_(calls), bytes_((count * sizeof(uint64_t) + page_bytes - 1) / page_bytes * page_bytes), unused_(count) {
  std::iota(unused_.rbegin(), unused_.rend(), size_t{0});
}

expected<std::unique_ptr<cuda_sums>> cuda_sums::make(const cuda_calls& calls, size_t count) {
  std::unique_ptr<cuda_sums> sums{new cuda_sums{calls, count}};
  sums->on_host_ = static_cast<uint64_t*>(std::aligned_alloc(page_bytes, sums->bytes_));
  if (sums->on_host_ == nullptr)
    return unexpected(error{.code = errc::out_of_budget, .what = "no memory for checksums"});
  const auto registered = calls.check(calls->host_register(sums->on_host_, sums->bytes_, cuda_register_portable),
                                      "cannot page-lock memory for checksums");
  sums->registered_ = registered.has_value();
  const auto allocated = registered.and_then(
      [&] { return calls.check(calls->malloc(&sums->on_device_, sums->bytes_), "has no memory for checksums"); });
  if (!allocated)
    return unexpected(allocated.error());
  return sums;
}

cuda_sums::~cuda_sums() {
  if (on_device_ != nullptr)
    calls_->free(on_device_);
  if (registered_)
    calls_->host_unregister(on_host_);
  std::free(on_host_);
}

expected<cuda_sums::place> cuda_sums::take() {
  const std::lock_guard guard{mutex_};
  if (unused_.empty())
    return unexpected(error{.code = errc::overloaded, .what = calls_.name() + " has too many checksums in flight"});
  const auto number = unused_.back();
  unused_.pop_back();
  return place{number, static_cast<uint64_t*>(on_device_) + number, on_host_ + number};
}

void cuda_sums::give_back(size_t number) {
  const std::lock_guard guard{mutex_};
  unused_.push_back(number);
}

}  // namespace longshore
