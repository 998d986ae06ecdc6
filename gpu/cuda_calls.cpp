#include "gpu/cuda_calls.hpp"

namespace longshore {
namespace {

errc meaning_of(int code) {
  switch (code) {
    case cuda_code::out_of_memory:
      return errc::out_of_budget;
    case cuda_code::already_registered:
    case cuda_code::not_registered:
      return errc::bad_argument;
    case cuda_code::driver_too_old:
    case cuda_code::no_device:
    case cuda_code::not_supported:
      return errc::unsupported;
    default:
      return errc::io_failed;
  }
}

}  // namespace

expected<void> cuda_calls::check(int code, const std::string& what) const {
  if (code == cuda_code::success)
    return {};
  const auto* words = table_->get_error_string(code);
  return unexpected(error{.code = meaning_of(code),
                          .what = name_ + " " + what + ": " + (words == nullptr ? "unknown" : words) + " (CUDA error " +
                                  std::to_string(code) + ")"});
}

expected<cuda_event> cuda_event::make(const cuda_calls& calls, unsigned flags) {
  cuda_event_handle handle = nullptr;
  if (auto made = calls.check(calls->event_create_with_flags(&handle, flags), "cannot make an event"); !made)
    return unexpected(std::move(made.error()));
  return cuda_event{calls, handle};
}

/// A failure here is one of earlier work, which its completion is told.
cuda_event::~cuda_event() {
  if (handle_ != nullptr)
    (*calls_)->event_destroy(handle_);
}

}  // namespace longshore
