#pragma once
/// A private mapping of a whole file: the page cache itself as a model's memory, no copy. Copy on write: a page that is
/// written to becomes this mapping's own memory, and the file never changes.
///
/// Owns the mapping, move-only. The kernel may drop its pages, and reads them again when they are used. What others
/// write to the file shows through, and a file that is cut short makes a use of what is gone raise SIGBUS: whoever
/// cannot accept that holds the file *owned*. Any thread. Failure: `io_failed` with errno.

#include <array>
#include <cstddef>
#include <cstdint>
#include <thread>

#include "cache/error.hpp"
#include "io/model_file.hpp"

namespace longshore {

class mapping {
public:
  static expected<mapping> of(const model_file& file);

  mapping() = default;
  mapping(mapping&& other) noexcept;
  mapping& operator=(mapping&& other) noexcept;
  ~mapping();

  /// Brings the pages in that the page cache has, on threads of its own, so that their users meet fewer faults: two,
  /// which stay ahead of one that uses them all, where there are two cores. Reads what it lacks too. Ends with the
  /// mapping.
  void populate_behind();

  std::byte* data() const { return data_; }
  uint64_t size_bytes() const { return size_bytes_; }

private:
  std::byte* data_ = nullptr;
  uint64_t size_bytes_ = 0;
  std::array<std::jthread, 2> populators_;
};

}  // namespace longshore
