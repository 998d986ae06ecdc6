#include "io/uring_engine.hpp"

#include <cassert>
#include <cerrno>
#include <mutex>
#include <thread>
#include <vector>

#include <liburing.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

namespace longshore {
namespace {

constexpr uint64_t wake_tag = ~uint64_t{0};   // the eventfd became readable
constexpr uint64_t quiet_tag = wake_tag - 1;  // a read-ahead hint, whose result does not matter

class uring_engine final : public read_engine {
public:
  uring_engine(io_uring ring, int wake_fd, size_t depth, completion_callback on_complete)
      : depth_(depth), on_complete_(std::move(on_complete)), ring_(ring), wake_fd_(wake_fd) {
    thread_ = std::thread([this] { run(); });
  }

  ~uring_engine() override {
    {
      const std::lock_guard guard{mutex_};
      stopping_ = true;
    }
    wake();
    thread_.join();
    io_uring_queue_exit(&ring_);
    ::close(wake_fd_);
  }

  void submit(const read_request& request) override {
    assert(request.tag < quiet_tag);
    {
      const std::lock_guard guard{mutex_};
      assert(in_flight_ < depth_);
      ++in_flight_;
      arriving_.push_back(request);
    }
    wake();
  }

  size_t depth() const override { return depth_; }
  std::string_view name() const override { return longshore::name(engine_kind::io_uring); }

private:
  void wake() const {
    const uint64_t one = 1;
    [[maybe_unused]] const auto n = ::write(wake_fd_, &one, sizeof one);
    assert(n == sizeof one);
  }

  void run() {
    arm_wake();
    while (true) {
      submit_arrivals();
      if (finished())
        return;
      const auto submitted = io_uring_submit_and_wait(&ring_, 1);
      assert(submitted >= 0 || submitted == -EINTR || submitted == -EAGAIN || submitted == -EBUSY);
      reap();
    }
  }

  /// One at a time, each sent off before the pages of the next are touched: the disk need not wait for those.
  void submit_arrivals() {
    {
      const std::lock_guard guard{mutex_};
      taken_.swap(arriving_);
    }
    for (const auto& request : taken_) {
      if (request.path == read_path::direct)
        touch_pages(request.destination, request.length_bytes);
      prepare(request);
      io_uring_submit(&ring_);
    }
    taken_.clear();
  }

  void prepare(const read_request& r) {
    const auto length = static_cast<unsigned>(r.length_bytes);
    if (r.path == read_path::populate) {
      auto* hint = next_entry();
      io_uring_prep_fadvise(hint, r.fd, r.offset_bytes, static_cast<off_t>(length), POSIX_FADV_WILLNEED);
      io_uring_sqe_set_data64(hint, quiet_tag);
      io_uring_sqe_set_flags(hint, IOSQE_ASYNC | IOSQE_IO_HARDLINK);
      lengths_.push_back({r.tag, r.length_bytes});
      auto* entry = next_entry();
      io_uring_prep_madvise(entry, r.destination, static_cast<off_t>(length), MADV_POPULATE_READ);
      io_uring_sqe_set_data64(entry, r.tag);
      io_uring_sqe_set_flags(entry, IOSQE_ASYNC);
      return;
    }
    auto* entry = next_entry();
    io_uring_prep_read(entry, r.fd, r.destination, length, r.offset_bytes);
    io_uring_sqe_set_data64(entry, r.tag);
    if (r.path == read_path::buffered)
      io_uring_sqe_set_flags(entry, IOSQE_ASYNC);
  }

  /// The ring has room for two entries a request and the wake-up: there is always one.
  io_uring_sqe* next_entry() {
    auto* entry = io_uring_get_sqe(&ring_);
    assert(entry != nullptr);
    return entry;
  }

  void arm_wake() {
    auto* entry = next_entry();
    io_uring_prep_read(entry, wake_fd_, &wake_count_, sizeof wake_count_, 0);
    io_uring_sqe_set_data64(entry, wake_tag);
  }

  void reap() {
    io_uring_cqe* completed = nullptr;
    while (io_uring_peek_cqe(&ring_, &completed) == 0) {
      const auto tag = io_uring_cqe_get_data64(completed);
      const auto result = completed->res;
      io_uring_cqe_seen(&ring_, completed);
      if (tag == wake_tag)
        arm_wake();
      else if (tag != quiet_tag)
        complete(tag, result);
    }
  }

  void complete(uint64_t tag, int64_t result) {
    for (auto it = lengths_.begin(); it != lengths_.end(); ++it)
      if (it->tag == tag) {  // a populate answers 0 for all of its range; kernels before 5.14 do not know it
        result = result == 0 || result == -EINVAL ? static_cast<int64_t>(it->bytes) : result;
        lengths_.erase(it);
        break;
      }
    {
      const std::lock_guard guard{mutex_};
      --in_flight_;  // before the callback, which may lead straight to the next submit
    }
    on_complete_({tag, result});
  }

  bool finished() {
    const std::lock_guard guard{mutex_};
    return stopping_ && in_flight_ == 0;
  }

  struct populate_length {
    uint64_t tag;
    uint64_t bytes;
  };

  const size_t depth_;
  const completion_callback on_complete_;
  io_uring ring_;
  const int wake_fd_;
  uint64_t wake_count_ = 0;
  std::vector<populate_length> lengths_;  // of populates in flight: at most `depth_`
  std::vector<read_request> taken_;
  std::mutex mutex_;
  std::vector<read_request> arriving_;
  size_t in_flight_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

unexpected refused(const char* what, int code) {
  return unexpected(error{.code = errc::unsupported,
                          .what = std::string(what) + "; --engine threads does without io_uring",
                          .os_error = code});
}

}  // namespace

expected<std::unique_ptr<read_engine>> make_uring_engine(size_t depth, completion_callback on_complete) {
  if (depth == 0)
    return unexpected(error{.code = errc::bad_argument, .what = "an engine needs a depth of at least 1"});
  io_uring ring;
  const auto entries = static_cast<unsigned>(2 * depth + 2);
  if (const auto code = io_uring_queue_init(entries, &ring, 0); code < 0)
    return refused("the system refuses io_uring", -code);
  const auto wake_fd = ::eventfd(0, EFD_CLOEXEC);
  if (wake_fd < 0) {
    const auto code = errno;
    io_uring_queue_exit(&ring);
    return refused("cannot make an eventfd", code);
  }
  unsigned workers[2] = {static_cast<unsigned>(copies_at_once(depth)), 0};
  io_uring_register_iowq_max_workers(&ring, workers);  // before 5.15 the kernel's own bound stands
  return std::make_unique<uring_engine>(ring, wake_fd, depth, std::move(on_complete));
}

}  // namespace longshore
