// A file system that lies: shows one folder read-only, with faults that a file's name asks for.
//
//   fault_fs SOURCE MOUNT_POINT READY_FD
//
// Runs until SIGTERM, on one thread, and writes a byte to READY_FD once it is mounted. Faults, by how a name begins:
//   short-        a read gives at most 100,000 bytes
//   busy-         beyond its first block, each place must be read three times: twice it gives EAGAIN
//   eio-at-N-     the block at N is bad: a read that begins in it fails with EIO, one that reaches it stops before
//   ends-at-N-    the file ends at N, whatever its size says
//   shrinks-at-N- once a read reaches beyond N, the file has N bytes and says so
//   flips-        the last byte of each read has another value
//   no-direct-    cannot be opened with O_DIRECT
// All of them are read past the page cache: the kernel would fill up what it takes for the end of a file with zeros.
#define FUSE_USE_VERSION 31

#include <fcntl.h>
#include <fuse.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <utility>

namespace {

struct served_folder {
  std::string source;
  int ready_fd = -1;
  std::map<std::pair<std::string, uint64_t>, int> busy_tries;
  std::set<std::string> shrunk;
};

constexpr uint64_t block_bytes = 4096;
served_folder served;

std::string source_of(const char* path) { return served.source + path; }

bool has_fault(const char* path, const std::string& fault) { return std::string(path).starts_with("/" + fault + "-"); }

/// The N of a name such as eio-at-N-rest; the largest number where the name asks for another fault, or none.
uint64_t fault_offset(const char* path, const std::string& fault) {
  if (!has_fault(path, fault + "-at"))
    return ~uint64_t{0};
  return std::strtoull(path + 1 + fault.size() + 4, nullptr, 10);
}

void* init(fuse_conn_info*, fuse_config* config) {
  config->use_ino = 1;  // of the source: identities must hold from one open to the next
  config->attr_timeout = 0;
  config->entry_timeout = 0;
  config->negative_timeout = 0;
  if (::write(served.ready_fd, "x", 1) != 1)
    std::exit(1);
  return nullptr;
}

int get_attributes(const char* path, struct stat* out, fuse_file_info*) {
  if (::stat(source_of(path).c_str(), out) != 0)
    return -errno;
  if (served.shrunk.contains(path))
    out->st_size = static_cast<off_t>(fault_offset(path, "shrinks"));
  return 0;
}

int open_file(const char* path, fuse_file_info* info) {
  if (has_fault(path, "no-direct") && (info->flags & O_DIRECT) != 0)
    return -EINVAL;
  const auto fd = ::open(source_of(path).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return -errno;
  info->fh = static_cast<uint64_t>(fd);
  info->direct_io = 1;
  return 0;
}

int close_file(const char*, fuse_file_info* info) {
  ::close(static_cast<int>(info->fh));
  return 0;
}

/// How much of a read the file's fault leaves; negative: the errno.
int64_t length_left(const char* path, uint64_t length, uint64_t offset) {
  if (has_fault(path, "busy") && offset >= block_bytes && served.busy_tries[{path, offset}]++ < 2)
    return -EAGAIN;
  if (has_fault(path, "short"))
    length = std::min<uint64_t>(length, 100'000);
  if (offset + length > fault_offset(path, "shrinks"))
    served.shrunk.insert(path);
  const auto bad = fault_offset(path, "eio");
  if (offset >= bad && offset - bad < block_bytes)
    return -EIO;
  const auto end =
      std::min({offset < bad ? bad : ~uint64_t{0}, fault_offset(path, "ends"), fault_offset(path, "shrinks")});
  return offset >= end ? 0 : static_cast<int64_t>(std::min(length, end - offset));
}

int read_file(const char* path, char* buffer, size_t length, off_t offset, fuse_file_info* info) {
  const auto left = length_left(path, length, static_cast<uint64_t>(offset));
  if (left <= 0)
    return static_cast<int>(left);
  const auto n = ::pread(static_cast<int>(info->fh), buffer, static_cast<size_t>(left), offset);
  if (n > 0 && has_fault(path, "flips"))
    buffer[n - 1] = static_cast<char>(~buffer[n - 1]);
  return n < 0 ? -errno : static_cast<int>(n);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4)
    return 2;
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // a test that dies leaves no mount behind
  served.source = argv[1];
  served.ready_fd = std::atoi(argv[3]);
  fuse_operations operations{};
  operations.init = init;
  operations.getattr = get_attributes;
  operations.open = open_file;
  operations.release = close_file;
  operations.read = read_file;
  char foreground[] = "-f", one_thread[] = "-s";
  char* arguments[] = {argv[0], foreground, one_thread, argv[2], nullptr};
  return fuse_main(4, arguments, &operations, nullptr);
}
