#pragma once
/// Memory that runs out: while one of these lives, the thread's allocations of so many bytes or more throw bad_alloc.

#include <cstddef>

namespace longshore {

class refused_allocation {
public:
  explicit refused_allocation(size_t from_bytes);
  ~refused_allocation();
  refused_allocation(const refused_allocation&) = delete;
  refused_allocation& operator=(const refused_allocation&) = delete;
};

}  // namespace longshore
