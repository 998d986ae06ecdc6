#include "tests/actors/mapping_witness.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <sstream>
#include <string>

#include <sys/mman.h>

namespace longshore {
namespace {

/// The writable ranges, as begin and end.
struct writable_ranges {
  std::mutex mutex;
  std::map<uintptr_t, uintptr_t> ranges;
  uint64_t bytes = 0;
  uint64_t most_bytes = 0;

  void add(uintptr_t begin, uintptr_t end) {
    const std::lock_guard guard{mutex};
    ranges[begin] = end;
    bytes += end - begin;
    most_bytes = std::max(most_bytes, bytes);
  }

  /// Cuts [begin, end) out of whatever is there.
  void remove(uintptr_t begin, uintptr_t end) {
    const std::lock_guard guard{mutex};
    for (auto at = ranges.begin(); at != ranges.end() && at->first < end;) {
      const auto [from, to] = *at;
      if (to <= begin) {
        ++at;
        continue;
      }
      bytes -= std::min(to, end) - std::max(from, begin);
      at = ranges.erase(at);
      if (from < begin)
        ranges[from] = begin;
      if (end < to)
        ranges[end] = to;
    }
  }
};

writable_ranges& all() {
  static writable_ranges ranges;
  return ranges;
}

}  // namespace

uint64_t arena_bytes_in_smaps() {
  std::ifstream smaps{"/proc/self/smaps"};
  uint64_t sum = 0, size_kib = 0;
  bool named = false;
  for (std::string line; std::getline(smaps, line);) {
    if (line.starts_with("Size:"))
      std::istringstream{line.substr(5)} >> size_kib;
    else if (line.starts_with("VmFlags:"))
      sum += named || line.find(" hg") != std::string::npos ? size_kib << 10 : 0;
    else if (std::isdigit(line[0]) || (line[0] >= 'a' && line[0] <= 'f'))
      named = line.find("[anon:longshore arena]") != std::string::npos;
  }
  return sum;
}

uint64_t arena_calls::bytes_now() {
  const std::lock_guard guard{all().mutex};
  return all().bytes;
}

uint64_t arena_calls::bytes_at_most() {
  const std::lock_guard guard{all().mutex};
  return all().most_bytes;
}

void arena_calls::forget_most() {
  const std::lock_guard guard{all().mutex};
  all().most_bytes = all().bytes;
}

}  // namespace longshore

// The names that the linker's --wrap gives.
extern "C" {
int __real_mprotect(void* address, size_t length, int protection);
int __real_munmap(void* address, size_t length);
int __wrap_mprotect(void* address, size_t length, int protection);
int __wrap_munmap(void* address, size_t length);

int __wrap_mprotect(void* address, size_t length, int protection) {
  const auto begin = reinterpret_cast<uintptr_t>(address);
  longshore::all().add(begin, begin + length);
  return __real_mprotect(address, length, protection);
}

int __wrap_munmap(void* address, size_t length) {
  const auto result = __real_munmap(address, length);
  const auto begin = reinterpret_cast<uintptr_t>(address);
  longshore::all().remove(begin, begin + length);
  return result;
}
}
