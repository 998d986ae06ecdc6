#include "tests/actors/refused_allocation.hpp"

#include <cstdlib>
#include <limits>
#include <new>

namespace {
thread_local size_t refused_from_bytes = std::numeric_limits<size_t>::max();
}

// For the whole program of tests. In a file of their own, where no caller of theirs is inlined.
void* operator new(size_t bytes) {
  if (bytes < refused_from_bytes)
    if (auto* memory = std::malloc(bytes))
      return memory;
  throw std::bad_alloc{};
}
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  return bytes < refused_from_bytes ? std::malloc(bytes) : nullptr;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace longshore {

refused_allocation::refused_allocation(size_t from_bytes) { refused_from_bytes = from_bytes; }
refused_allocation::~refused_allocation() { refused_from_bytes = std::numeric_limits<size_t>::max(); }

}  // namespace longshore
