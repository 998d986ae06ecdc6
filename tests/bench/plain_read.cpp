/// The plain limits that loaders are measured against: the shortest program that gets a file's bytes into memory.
///
///   plain_read (uring|pread|copy) (warm|ahead|huge|small) FILE
///
/// uring: O_DIRECT, 8 MiB reads, 8 in flight, one thread. pread: through the page cache, 2 threads. copy: no file I/O,
/// FILE's size is copied between two touched buffers by 2 threads. Memory: `warm` is touched before the clock starts,
/// `ahead` is fresh huge pages that a second thread touches ahead of the reads, `huge` and `small` are fresh huge and
/// 4 KiB pages that the reads themselves fault in. All bytes are touched once more before the clock stops.
/// Prints one JSON object; exits 1 with a sentence on stderr when anything fails, a short read included.

#include <fcntl.h>
#include <liburing.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>

#include "touch.hpp"

namespace {

constexpr uint64_t chunk_bytes = 8 << 20;
constexpr unsigned depth = 8;
constexpr unsigned reader_threads = 2;
constexpr uint64_t huge_page_bytes = 2 << 20;
constexpr uint64_t direct_alignment_bytes = 4096;
constexpr uint64_t copy_source_limit_bytes = 1 << 30;  // far past any cache, and leaves room for the destination

[[noreturn]] void fail(const std::string& what, int os_error) {
  std::fprintf(stderr, "plain_read: %s: %s\n", what.c_str(), std::strerror(os_error));
  std::exit(1);
}

uint64_t round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

/// Anonymous memory aligned for huge pages; lives until the process ends.
char* reserve(uint64_t size_bytes, int advice) {
  auto total = round_up(size_bytes, huge_page_bytes) + huge_page_bytes;
  void* raw = mmap(nullptr, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED)
    fail("mmap", errno);
  auto address = round_up(reinterpret_cast<uintptr_t>(raw), huge_page_bytes);
  madvise(reinterpret_cast<void*>(address), total - huge_page_bytes, advice);
  return reinterpret_cast<char*>(address);
}

/// Touches `data` in steps and publishes how far it has come.
void fault_in(char* data, uint64_t size_bytes, std::atomic<uint64_t>& ready_bytes) {
  for (uint64_t at = 0; at < size_bytes; at += huge_page_bytes) {
    for (uint64_t page = at; page < std::min(at + huge_page_bytes, size_bytes); page += direct_alignment_bytes)
      data[page] = 1;
    ready_bytes.store(at + huge_page_bytes, std::memory_order_release);
    ready_bytes.notify_one();
  }
}

struct ring {
  io_uring handle;
  int fd;
  char* data;
  uint64_t size_bytes;
};

void submit(ring& r, uint64_t offset_bytes, const std::atomic<uint64_t>& ready_bytes) {
  auto end = std::min(offset_bytes + chunk_bytes, r.size_bytes);
  for (auto ready = ready_bytes.load(std::memory_order_acquire); ready < end;
       ready = ready_bytes.load(std::memory_order_acquire))
    ready_bytes.wait(ready);
  auto length = round_up(end - offset_bytes, direct_alignment_bytes);
  io_uring_sqe* entry = io_uring_get_sqe(&r.handle);
  io_uring_prep_read(entry, r.fd, r.data + offset_bytes, static_cast<unsigned>(length), offset_bytes);
  io_uring_sqe_set_data64(entry, offset_bytes);
  io_uring_submit(&r.handle);
}

void check_completion(ring& r) {
  io_uring_cqe* done = nullptr;
  if (int rc = io_uring_wait_cqe(&r.handle, &done); rc < 0)
    fail("io_uring_wait_cqe", -rc);
  auto wanted = std::min<uint64_t>(chunk_bytes, r.size_bytes - io_uring_cqe_get_data64(done));
  if (done->res < 0)
    fail("read", -done->res);
  if (static_cast<uint64_t>(done->res) < wanted)
    fail("short read", EIO);
  io_uring_cqe_seen(&r.handle, done);
}

void read_by_uring(const char* path, char* data, uint64_t size_bytes, const std::atomic<uint64_t>& ready_bytes) {
  ring r{{}, open(path, O_RDONLY | O_DIRECT | O_CLOEXEC), data, size_bytes};
  if (r.fd < 0)
    fail(path, errno);
  if (int rc = io_uring_queue_init(depth, &r.handle, 0); rc < 0)
    fail("io_uring_queue_init", -rc);
  unsigned in_flight = 0;
  for (uint64_t offset = 0; offset < size_bytes; offset += chunk_bytes) {
    if (in_flight == depth) {
      check_completion(r);
      --in_flight;
    }
    submit(r, offset, ready_bytes);
    ++in_flight;
  }
  for (; in_flight > 0; --in_flight)
    check_completion(r);
  io_uring_queue_exit(&r.handle);
}

/// Runs `work(begin, end)` over chunks of [0, size), taken in turn by the reader threads.
template <class F>
void in_chunks(uint64_t size_bytes, F work) {
  std::atomic<uint64_t> next_bytes = 0;
  auto body = [&] {
    for (uint64_t at = next_bytes.fetch_add(chunk_bytes); at < size_bytes; at = next_bytes.fetch_add(chunk_bytes))
      work(at, std::min(at + chunk_bytes, size_bytes));
  };
  std::thread others[reader_threads - 1];
  for (auto& other : others)
    other = std::thread(body);
  body();
  for (auto& other : others)
    other.join();
}

void read_by_pread(const char* path, char* data, uint64_t size_bytes) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    fail(path, errno);
  in_chunks(size_bytes, [&](uint64_t at, uint64_t end) {
    while (at < end) {
      ssize_t got = pread(fd, data + at, end - at, static_cast<off_t>(at));
      if (got <= 0)
        fail("pread", got < 0 ? errno : EIO);
      at += static_cast<uint64_t>(got);
    }
  });
}

/// The source is read round and round; its size is a multiple of a chunk, so that no chunk crosses its end.
void copy(char* data, const char* source, uint64_t source_bytes, uint64_t size_bytes) {
  in_chunks(size_bytes,
            [&](uint64_t at, uint64_t end) { std::memcpy(data + at, source + at % source_bytes, end - at); });
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// The peak of this program alone; ru_maxrss would carry over that of whoever started it.
uint64_t peak_rss_bytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word && word != "VmHWM:") {
  }
  uint64_t kib = 0;
  status >> kib;
  return kib * 1024;
}

struct job {
  std::string engine, memory;
  const char* path;
  uint64_t size_bytes;
  char* data;
  char* source;  // of `copy` alone
};

void transfer(const job& j) {
  std::atomic<uint64_t> ready_bytes = UINT64_MAX;
  std::thread toucher;
  if (j.memory == "ahead") {
    ready_bytes = 0;
    toucher = std::thread([&] { fault_in(j.data, j.size_bytes, ready_bytes); });
  }
  if (j.engine == "uring")
    read_by_uring(j.path, j.data, j.size_bytes, ready_bytes);
  else if (j.engine == "pread")
    read_by_pread(j.path, j.data, j.size_bytes);
  else
    copy(j.data, j.source, copy_source_limit_bytes, j.size_bytes);
  if (toucher.joinable())
    toucher.join();
  const void* address = j.data;
  touch_pages(&address, &j.size_bytes, 1);
}

void prepare(job& j) {
  struct stat facts{};
  if (stat(j.path, &facts) != 0)
    fail(j.path, errno);
  j.size_bytes = static_cast<uint64_t>(facts.st_size);
  j.data = reserve(j.size_bytes, j.memory == "small" ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
  std::atomic<uint64_t> ignored;
  if (j.memory == "warm")
    fault_in(j.data, j.size_bytes, ignored);
  if (j.engine == "copy") {
    j.source = reserve(copy_source_limit_bytes, MADV_HUGEPAGE);
    fault_in(j.source, copy_source_limit_bytes, ignored);
  }
}

}  // namespace

int main(int argc, char** argv) {
  auto known = [](const std::string& word, std::initializer_list<const char*> words) {
    return std::find(words.begin(), words.end(), word) != words.end();
  };
  if (argc != 4 || !known(argv[1], {"uring", "pread", "copy"}) || !known(argv[2], {"warm", "ahead", "huge", "small"}) ||
      (std::string(argv[2]) == "ahead" && std::string(argv[1]) != "uring")) {
    std::fprintf(stderr, "usage: plain_read uring|pread|copy warm|ahead|huge|small FILE (ahead: with uring alone)\n");
    return 2;
  }
  job j{argv[1], argv[2], argv[3], 0, nullptr, nullptr};
  prepare(j);
  auto cpu_before = cpu_seconds();
  auto before = std::chrono::steady_clock::now();
  transfer(j);
  std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - before;
  std::printf("{\"seconds\": %.6f, \"cpu_seconds\": %.6f, \"peak_rss_bytes\": %llu, \"bytes\": %llu}\n",
              seconds.count(), cpu_seconds() - cpu_before, static_cast<unsigned long long>(peak_rss_bytes()),
              static_cast<unsigned long long>(j.size_bytes));
  return 0;
}
