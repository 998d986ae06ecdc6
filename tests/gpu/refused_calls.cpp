#include "tests/gpu/refused_calls.hpp"

#include <sys/mman.h>

#include <cerrno>

namespace {

bool is_refused(bool concerned, int code) {
  if (!concerned || code == 0)
    return false;
  ++longshore::refused_calls::refused;
  errno = code;
  return true;
}

}  // namespace

// The names that the linker's --wrap gives.
extern "C" {
int __real_mprotect(void* address, size_t length, int protection);
int __real_madvise(void* address, size_t length, int advice);
int __wrap_mprotect(void* address, size_t length, int protection);
int __wrap_madvise(void* address, size_t length, int advice);

int __wrap_mprotect(void* address, size_t length, int protection) {
  const auto refused = is_refused((protection & PROT_WRITE) != 0, longshore::refused_calls::usable_errno);
  return refused ? -1 : __real_mprotect(address, length, protection);
}

int __wrap_madvise(void* address, size_t length, int advice) {
  const auto refused = is_refused(advice == MADV_POPULATE_WRITE, longshore::refused_calls::populate_errno);
  return refused ? -1 : __real_madvise(address, length, advice);
}
}
