#pragma once
/// Memory of Longshore's as torch's tensors: what they look like there, and how long the memory lasts behind them.
///
/// Owns nothing itself: a `memory_hold` keeps what it is given until the last view of it is gone and the stream that
/// used it has done what was queued in it by then. Needs none of torch's headers. Limits: torch's. Thread rule: any
/// thread, but for `let_go`. Failure: `unsupported` for what torch has no type or shape for, and for a device that it
/// was not built for; `bad_argument` for a stream of another device. torch's own exceptions pass through `view` and
/// `compute_stream`.

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cache/error.hpp"
#include "io/safetensors.hpp"

namespace at {
class Tensor;
}
namespace c10 {
struct Event;  // NOLINT(readability-identifier-naming): torch's name
class Stream;
}  // namespace c10

namespace longshore {

struct torch_form {
  int8_t type = 0;  ///< an at::ScalarType
  std::vector<int64_t> shape;
};

/// A tensor's type and shape as torch has them. `path`: its file's, for the error.
expected<torch_form> form_of(const tensor_info& tensor, const std::string& path);

/// On which work with a device's memory is queued: the wanted one, or the calling thread's current one. Null for host
/// memory, a host device's among it, where work is over when the call that asked for it returns.
using stream_ptr = std::shared_ptr<const c10::Stream>;
expected<stream_ptr> compute_stream(const std::string& device_name, const c10::Stream* wanted = nullptr);

/// Behind the work that is queued in a stream by now.
class queue_mark {
public:
  explicit queue_mark(const c10::Stream& stream);
  void wait() const;  ///< until that work is over

private:
  std::shared_ptr<c10::Event> event_;  // none: a device that can mark nothing any more runs nothing any more
};

/// What is the same for all tensors of one piece of memory.
class memory_hold {
public:
  memory_hold(std::shared_ptr<const void> memory, stream_ptr stream)
      : memory_(std::move(memory)), stream_(std::move(stream)) {}
  ~memory_hold();
  memory_hold(const memory_hold&) = delete;
  memory_hold& operator=(const memory_hold&) = delete;

  /// Now, and without waiting for the stream: somebody else does. By the only holder.
  void let_go() { memory_.reset(); }

  const stream_ptr& stream() const { return stream_; }

private:
  std::shared_ptr<const void> memory_;
  stream_ptr stream_;
};

/// A tensor that lies at `data` and holds what keeps it.
at::Tensor view(void* data, const torch_form& form, const std::shared_ptr<const memory_hold>& held);

}  // namespace longshore
