#pragma once
/// What the tests of reading share: a folder of a test's own, bytes that a seed makes, files of weights, page memory.
///
/// Owns what it makes until the end of the test. Limits: small files, made in memory. Thread rule: one test's thread.
/// Fails by std::runtime_error, which fails the test.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace longshore {

namespace fs = std::filesystem;
using byte_vector = std::vector<std::byte>;

/// An empty folder, gone after the test. Made where the test runs, not in /tmp, which may be memory: direct reads and
/// an emptied page cache need a disk.
class test_folder {
public:
  explicit test_folder(const fs::path& parent = fs::current_path()) {
    std::string pattern = parent / "longshore-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr)
      throw std::runtime_error("cannot make a folder in " + parent.string());
    path_ = pattern;
  }
  ~test_folder() { fs::remove_all(path_); }
  test_folder(const test_folder&) = delete;
  test_folder& operator=(const test_folder&) = delete;

  std::string operator/(const std::string& name) const { return path_ / name; }
  const fs::path& path() const { return path_; }

private:
  fs::path path_;
};

/// Bytes that look random and are the same for the same seed (splitmix64).
inline byte_vector made_bytes(size_t count, uint64_t seed) {
  byte_vector bytes(count);
  for (size_t i = 0; i < count; ++i) {
    auto x = (seed << 32) + i / 8 * 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    bytes[i] = static_cast<std::byte>((x ^ (x >> 31)) >> (i % 8 * 8));
  }
  return bytes;
}

/// std::equal, but as fast as memory under the sanitizers too.
inline bool same_bytes(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

inline void write_file(const std::string& path, std::span<const std::byte> bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!out.flush())
    throw std::runtime_error("cannot write " + path);
}

inline void write_file(const std::string& path, const std::string& text) {
  write_file(path, std::as_bytes(std::span{text}));
}

struct made_tensor {
  std::string name;
  size_t size_bytes;
  std::string type = "U8";
  size_t element_bytes = 1;
};

/// The header, with its length before it, of a safetensors file of tensors in this order, each of one dimension:
/// written without the code under test.
inline byte_vector made_header(const std::vector<made_tensor>& tensors) {
  std::string json = "{";
  size_t at = 0;
  for (const auto& [name, size, type, element_bytes] : tensors) {
    json += (json.size() > 1 ? ",\"" : "\"") + name + R"(":{"dtype":")" + type + R"(","shape":[)" +
            std::to_string(size / element_bytes) + R"(],"data_offsets":[)" + std::to_string(at) + "," +
            std::to_string(at + size) + "]}";
    at += size;
  }
  json += "}";
  byte_vector header(8);
  for (size_t i = 0; i < 8; ++i)
    header[i] = static_cast<std::byte>(json.size() >> (8 * i));
  const auto text = std::as_bytes(std::span{json});
  header.insert(header.end(), text.begin(), text.end());
  return header;
}

/// The whole file: the header and made-up data.
inline byte_vector made_model(const std::vector<made_tensor>& tensors, uint64_t seed = 1) {
  size_t data_bytes = 0;
  for (const auto& tensor : tensors)
    data_bytes += tensor.size_bytes;
  auto file = made_header(tensors);
  const auto data = made_bytes(data_bytes, seed);
  file.insert(file.end(), data.begin(), data.end());
  return file;
}

/// A descriptor that closes itself.
class test_fd {
public:
  explicit test_fd(const std::string& path, int flags = O_RDONLY) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0600)) {
    if (fd_ < 0)
      throw std::runtime_error("cannot open " + path + " with flags " + std::to_string(flags));
  }
  ~test_fd() { ::close(fd_); }
  test_fd(const test_fd&) = delete;
  test_fd& operator=(const test_fd&) = delete;
  operator int() const { return fd_; }

private:
  int fd_;
};

/// Writes a file out and out of the page cache.
inline void make_cold(const std::string& path) {
  const test_fd file{path};
  if (::fsync(file) != 0 || ::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) != 0)
    throw std::runtime_error("cannot empty the page cache of " + path);
}

/// Page-aligned memory of the test's own, or a mapping of a file.
class page_memory {
public:
  explicit page_memory(size_t size_bytes)
      : page_memory(size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1) {}
  page_memory(size_t size_bytes, int fd) : page_memory(size_bytes, PROT_READ, MAP_PRIVATE, fd) {}
  ~page_memory() { ::munmap(data_, size_bytes_); }
  page_memory(const page_memory&) = delete;
  page_memory& operator=(const page_memory&) = delete;

  std::byte* data() const { return data_; }
  std::span<const std::byte> first(size_t count) const { return {data_, count}; }

private:
  page_memory(size_t size_bytes, int protection, int flags, int fd)
      : data_(static_cast<std::byte*>(::mmap(nullptr, size_bytes, protection, flags, fd, 0))), size_bytes_(size_bytes) {
    if (data_ == MAP_FAILED)
      throw std::runtime_error("cannot map " + std::to_string(size_bytes) + " bytes");
  }

  std::byte* data_;
  size_t size_bytes_;
};

/// Pages of the range that are in memory.
inline size_t pages_in_memory(const std::byte* data, size_t size_bytes) {
  std::vector<unsigned char> pages((size_bytes + 4095) / 4096);
  if (::mincore(const_cast<std::byte*>(data), size_bytes, pages.data()) != 0)
    throw std::runtime_error("mincore fails");
  size_t count = 0;
  for (const auto page : pages)
    count += page & 1;
  return count;
}

/// Pages of the range that this process can use without a fault.
inline size_t pages_mapped(const std::byte* data, size_t size_bytes) {
  std::ifstream pagemap{"/proc/self/pagemap", std::ios::binary};
  std::vector<uint64_t> entries((size_bytes + 4095) / 4096);
  pagemap.seekg(static_cast<std::streamoff>(reinterpret_cast<uintptr_t>(data) / 4096 * sizeof(uint64_t)));
  if (!pagemap.read(reinterpret_cast<char*>(entries.data()),
                    static_cast<std::streamsize>(entries.size() * sizeof(uint64_t))))
    throw std::runtime_error("no pagemap");
  return static_cast<size_t>(
      std::count_if(entries.begin(), entries.end(), [](uint64_t entry) { return entry >> 63 == 1; }));
}

}  // namespace longshore
