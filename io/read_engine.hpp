#pragma once
/// Reading bytes in the background: one interface, two engines, the same promises.
///
/// An engine owns its threads (and ring), not the memory or the descriptors: both must live until the completion came.
/// Limit: at most `depth()` requests in flight; the caller keeps count, and one more asserts. `submit` never blocks.
/// Every request completes exactly once, on a thread of the engine, in any order, with bytes or a negative errno: short
/// reads are handed up as they are (`chunk_progress` knows what to do). The destructor waits for what is in flight.
/// Thread rule: `submit` from one thread at a time.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "cache/error.hpp"
#include "io/read_plan.hpp"

namespace longshore {

enum class engine_kind : uint8_t { automatic, io_uring, threads };
std::string_view name(engine_kind kind);

struct read_request {
  uint64_t tag;  ///< comes back with the completion
  int fd;        ///< opened with O_DIRECT for a direct read
  uint64_t offset_bytes;
  std::byte* destination;  ///< for populate: the address in the mapping
  uint64_t length_bytes;   ///< under 2 GiB
  read_path path;
};

struct read_completion {
  uint64_t tag;
  int64_t result;  ///< bytes, or a negative errno
};

class read_engine {
public:
  read_engine() = default;
  read_engine(const read_engine&) = delete;
  read_engine& operator=(const read_engine&) = delete;
  virtual ~read_engine() = default;

  virtual void submit(const read_request& request) = 0;
  virtual size_t depth() const = 0;
  virtual std::string_view name() const = 0;
};

using completion_callback = std::function<void(const read_completion&)>;

struct engine_options {
  engine_kind kind = engine_kind::automatic;
  size_t depth = 8;  ///< 8 requests of 8 MiB kept every disk that was measured busy
};

/// Automatic takes io_uring where the system allows it, else threads. Fails with `unsupported` (and the reason) when
/// io_uring is asked for by name and refused: by seccomp, by kernel.io_uring_disabled, by an old kernel.
expected<std::unique_ptr<read_engine>> make_read_engine(const engine_options& options, completion_callback on_complete);

/// How many copies out of the page cache run at once: one a core. With 8 on 2 cores, the threads that fault in the same
/// huge pages get in each other's way: 1.7 s and 3.4 CPU seconds for 2.1 GB instead of 0.43 and 0.7 (measured).
size_t copies_at_once(size_t depth);

/// Brings fresh memory in and leaves what is there as it is. False where the system cannot.
bool populate_pages(std::byte* destination, uint64_t length_bytes);

/// Brings fresh memory in ahead of a read that the device writes itself (populated, or touched on old kernels). The
/// destination's bytes are lost on old kernels, so only what is about to be read whole may be touched.
void touch_pages(std::byte* destination, uint64_t length_bytes);

/// What an engine's thread does for one blocking read or populate.
int64_t read_now(const read_request& request);

}  // namespace longshore
