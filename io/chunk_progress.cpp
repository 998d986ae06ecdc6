#include "io/chunk_progress.hpp"

#include <algorithm>
#include <cerrno>

namespace longshore {

chunk_progress::attempt chunk_progress::next() const {
  auto length = chunk_.length_bytes - done_bytes_;
  if (chunk_.path == read_path::direct)
    length = (length + alignment_bytes_ - 1) / alignment_bytes_ * alignment_bytes_;
  return {done_bytes_, length, chunk_.path};
}

chunk_progress::verdict chunk_progress::take(int64_t result) {
  if (result < 0)
    return take_error(static_cast<int>(-result));
  const auto reached = std::min(done_bytes_ + static_cast<uint64_t>(result), chunk_.length_bytes);
  if (reached == chunk_.length_bytes)
    return done{};
  if (result == 0)
    return failed{0, chunk_.offset_bytes + done_bytes_};
  const auto before = done_bytes_;
  done_bytes_ = chunk_.path == read_path::direct ? reached / alignment_bytes_ * alignment_bytes_ : reached;
  if (done_bytes_ > before)
    retries_ = 0;
  else if (++retries_ > max_retries_)  // less than one block a time, for ever: the file ends inside this block
    return failed{0, chunk_.offset_bytes + reached};
  return again{0};
}

chunk_progress::verdict chunk_progress::take_error(int code) {
  const auto transient = code == EINTR || code == EAGAIN || code == ENOMEM || code == EBUSY;
  const auto refused = code == EINVAL || code == EOPNOTSUPP;
  if (transient && ++retries_ <= max_retries_)
    return again{code == EINTR ? 0 : std::min(max_wait_ms, 1U << std::min(retries_ - 1, 31U))};
  if (refused && chunk_.path == read_path::direct) {
    chunk_.path = read_path::buffered;
    return again{0};
  }
  return failed{code, chunk_.offset_bytes + done_bytes_};
}

}  // namespace longshore
