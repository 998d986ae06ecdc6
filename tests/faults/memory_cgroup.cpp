#include "tests/faults/memory_cgroup.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <system_error>

namespace longshore {
namespace {

namespace fs = std::filesystem;

const std::string v1_root = "/sys/fs/cgroup/memory";
const std::string v2_root = "/sys/fs/cgroup";

}  // namespace

memory_cgroup::memory_cgroup(uint64_t limit_bytes) {
  is_v1_ = fs::exists(v1_root + "/memory.limit_in_bytes");
  name_ = "/longshore-test-" + std::to_string(::getpid());
  path_ = (is_v1_ ? v1_root : v2_root) + name_;
  processes_path_ = path_ + "/cgroup.procs";
  if (!is_v1_)  // often on already, and refused where it cannot be: then memory.max below is missing
    std::ofstream(v2_root + "/cgroup.subtree_control") << "+memory";
  std::error_code failed;
  fs::create_directory(path_, failed);
  if (failed)
    problem_ = "cannot make " + path_ + ": " + failed.message();
  else
    set(is_v1_ ? "memory.limit_in_bytes" : "memory.max", std::to_string(limit_bytes));
}

memory_cgroup::~memory_cgroup() { ::rmdir(path_.c_str()); }

void memory_cgroup::set(const std::string& file, const std::string& value) {
  std::ofstream out(path_ + "/" + file);
  out << value;
  if (!out.flush())
    problem_ = "cannot write " + value + " to " + path_ + "/" + file;
}

bool memory_cgroup::enter() const {
  const auto fd = ::open(processes_path_.c_str(), O_WRONLY | O_CLOEXEC);
  const auto entered = ::write(fd, "0", 1) == 1;
  ::close(fd);
  return entered;
}

}  // namespace longshore
