#include "app/cli/usage.hpp"

#include <cstdlib>
#include <fstream>
#include <string>

#include <sys/resource.h>

namespace longshore {
namespace {

rusage usage_now() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage;
}

}  // namespace

double cpu_seconds() {
  const auto usage = usage_now();
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// Not from getrusage: its peak begins with the parent's, whose memory a fork shares.
uint64_t peak_rss_bytes() {
  std::ifstream status{"/proc/self/status"};
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:"))
      return std::strtoull(line.c_str() + sizeof("VmHWM:") - 1, nullptr, 10) * 1024;
  return static_cast<uint64_t>(usage_now().ru_maxrss) * 1024;
}

}  // namespace longshore
