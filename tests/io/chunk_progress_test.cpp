// The rule that turns the results of reads into a chunk or an error: by hand, and against a disk that misbehaves at
// random.
#include "io/chunk_progress.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <vector>

using namespace longshore;

namespace {

using attempt = chunk_progress::attempt;
constexpr uint64_t alignment = 4096;

chunk_progress buffered(uint64_t length, unsigned max_retries = 8) {
  return {{.offset_bytes = 1 << 20, .length_bytes = length, .path = read_path::buffered, .was_resident = false},
          alignment,
          max_retries};
}
chunk_progress direct(uint64_t length, unsigned max_retries = 8) {
  return {{.offset_bytes = 1 << 20, .length_bytes = length, .path = read_path::direct, .was_resident = false},
          alignment,
          max_retries};
}

bool is_done(const chunk_progress::verdict& v) { return std::holds_alternative<chunk_progress::done>(v); }
bool is_failed(const chunk_progress::verdict& v, int os_error, uint64_t offset) {
  const auto* f = std::get_if<chunk_progress::failed>(&v);
  return f != nullptr && f->os_error == os_error && f->offset_bytes == offset;
}
bool is_again(const chunk_progress::verdict& v, unsigned after_ms) {
  const auto* a = std::get_if<chunk_progress::again>(&v);
  return a != nullptr && a->after_ms == after_ms;
}

TEST(chunk_progress, a_full_read_is_the_end) {
  auto p = buffered(5000);
  EXPECT_EQ(p.next(), (attempt{0, 5000, read_path::buffered}));
  EXPECT_TRUE(is_done(p.take(5000)));
}

TEST(chunk_progress, a_direct_read_asks_for_whole_blocks_and_may_get_fewer_bytes) {
  auto p = direct(5000);
  EXPECT_EQ(p.next(), (attempt{0, 8192, read_path::direct}));
  EXPECT_TRUE(is_done(p.take(5000)));
  auto grown = direct(5000);
  EXPECT_TRUE(is_done(grown.take(8192)));  // the file grew: what is beyond the chunk does not count
}

TEST(chunk_progress, a_short_read_is_continued_where_it_stopped) {
  auto p = buffered(5000);
  EXPECT_TRUE(is_again(p.take(4999), 0));
  EXPECT_EQ(p.next(), (attempt{4999, 1, read_path::buffered}));
  auto d = direct(20'000);
  EXPECT_TRUE(is_again(d.take(9000), 0));
  EXPECT_EQ(d.next(), (attempt{8192, 12'288, read_path::direct}));
}

TEST(chunk_progress, an_early_end_of_the_file_is_an_error) {
  auto p = buffered(5000);
  EXPECT_TRUE(is_again(p.take(4000), 0));
  EXPECT_TRUE(is_failed(p.take(0), 0, (1 << 20) + 4000));
}

TEST(chunk_progress, a_file_that_ends_inside_a_block_does_not_keep_a_direct_read_busy_for_ever) {
  auto p = direct(20'000, 3);
  for (int i = 0; i < 3; ++i)
    EXPECT_TRUE(is_again(p.take(100), 0));
  EXPECT_TRUE(is_failed(p.take(100), 0, (1 << 20) + 100));
}

TEST(chunk_progress, what_is_busy_is_tried_again_later_and_later) {
  for (const int code : {EAGAIN, ENOMEM, EBUSY}) {
    auto p = buffered(5000, 4);
    for (const unsigned after_ms : {1, 2, 4, 8})
      EXPECT_TRUE(is_again(p.take(-code), after_ms)) << code;
    EXPECT_TRUE(is_failed(p.take(-code), code, 1 << 20)) << code;
  }
}

TEST(chunk_progress, many_tries_wait_a_bounded_time) {
  auto p = buffered(5000, 100);
  unsigned longest_ms = 0;
  for (int i = 0; i < 100; ++i)
    longest_ms = std::max(longest_ms, std::get<chunk_progress::again>(p.take(-EBUSY)).after_ms);
  EXPECT_EQ(longest_ms, chunk_progress::max_wait_ms);
  EXPECT_TRUE(is_failed(p.take(-EBUSY), EBUSY, 1 << 20));
}

TEST(chunk_progress, an_interrupted_read_is_repeated_at_once) {
  auto p = buffered(5000, 1);
  EXPECT_TRUE(is_again(p.take(-EINTR), 0));
  EXPECT_TRUE(is_failed(p.take(-EINTR), EINTR, 1 << 20));
}

TEST(chunk_progress, progress_earns_new_tries) {
  auto p = buffered(5000, 1);
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(is_again(p.take(-EAGAIN), 1));
    EXPECT_TRUE(is_again(p.take(1), 0));
  }
}

TEST(chunk_progress, a_refused_direct_read_goes_on_through_the_page_cache) {
  for (const int code : {EINVAL, EOPNOTSUPP}) {
    auto p = direct(20'000);
    EXPECT_TRUE(is_again(p.take(8192), 0));
    EXPECT_TRUE(is_again(p.take(-code), 0));
    EXPECT_EQ(p.next(), (attempt{8192, 11'808, read_path::buffered}));
    EXPECT_EQ(p.what().path, read_path::buffered);
    EXPECT_TRUE(is_failed(p.take(-code), code, (1 << 20) + 8192));
  }
}

TEST(chunk_progress, other_errors_end_it_at_once) {
  for (const int code : {EIO, EBADF, EFAULT, ENODEV, ESTALE}) {
    auto p = direct(20'000);
    EXPECT_TRUE(is_failed(p.take(-code), code, 1 << 20)) << code;
  }
}

/// Answers attempts like a disk with many moods, and notes which bytes it gave and whether the load may fail.
class moody_disk {
public:
  moody_disk(chunk what, uint64_t file_bytes, bool has_hard_errors, uint64_t seed)
      : what_(what),
        file_bytes_(file_bytes),
        has_hard_errors_(has_hard_errors),
        covered_(what.length_bytes),
        random_(seed) {}

  int64_t answer(const attempt& a) {
    check(a);
    switch (random_() % 8) {
      case 0:
        return give(-transient[random_() % 4]);
      case 1:
        return has_hard_errors_ ? give(random_() % 2 == 0 ? -EIO : 0) : give(-EINTR);
      case 2:
        return a.path == read_path::direct ? give(-EINVAL) : fill(a, 1 + random_() % a.length_bytes);
      case 3:
        return fill(a, a.length_bytes);
      default:
        return fill(a, 1 + random_() % a.length_bytes);
    }
  }

  bool all_covered() const {
    return std::ranges::all_of(covered_, [](bool there) { return there; });
  }
  int64_t last() const { return last_; }

private:
  static constexpr int transient[] = {EINTR, EAGAIN, ENOMEM, EBUSY};

  void check(const attempt& a) const {
    RC_ASSERT(a.length_bytes > 0u && a.skip_bytes < what_.length_bytes);
    if (a.path == read_path::direct) {
      RC_ASSERT((what_.offset_bytes + a.skip_bytes) % alignment == 0u && a.length_bytes % alignment == 0u);
      RC_ASSERT(a.skip_bytes + a.length_bytes < what_.length_bytes + alignment);
    } else {
      RC_ASSERT(a.skip_bytes + a.length_bytes == what_.length_bytes);
    }
  }

  int64_t give(int64_t result) { return last_ = result; }

  int64_t fill(const attempt& a, uint64_t count) {
    const auto at = what_.offset_bytes + a.skip_bytes;
    count = std::min(count, file_bytes_ > at ? file_bytes_ - at : 0);
    for (uint64_t i = a.skip_bytes; i < std::min(a.skip_bytes + count, what_.length_bytes); ++i)
      covered_[i] = true;
    return give(static_cast<int64_t>(count));
  }

  chunk what_;
  uint64_t file_bytes_;
  bool has_hard_errors_;
  std::vector<bool> covered_;
  std::mt19937_64 random_;
  int64_t last_ = 0;
};

RC_GTEST_PROP(chunk_progress, ends_with_all_bytes_or_a_failure_on_any_disk, ()) {
  const chunk what{.offset_bytes = *rc::gen::inRange<uint64_t>(0, 8) * alignment,
                   .length_bytes = *rc::gen::inRange<uint64_t>(1, 10 * alignment),
                   .path = *rc::gen::element(read_path::direct, read_path::buffered),
                   .was_resident = false};
  const auto max_retries = *rc::gen::inRange(0U, 12U);
  const auto is_short = *rc::gen::arbitrary<bool>();
  const auto file_bytes =
      what.offset_bytes + (is_short ? *rc::gen::inRange<uint64_t>(0, what.length_bytes) : what.length_bytes);
  const auto has_hard_errors = *rc::gen::arbitrary<bool>();
  moody_disk disk{what, file_bytes, has_hard_errors, *rc::gen::arbitrary<uint64_t>()};
  chunk_progress progress{what, alignment, max_retries};
  const auto most_attempts = (what.length_bytes + 2) * (max_retries + 2);
  uint64_t reached = 0;
  unsigned without_progress = 0;
  for (uint64_t attempts = 0;; ++attempts) {
    RC_ASSERT(attempts < most_attempts);
    const auto a = progress.next();
    without_progress = a.skip_bytes > reached ? 1 : without_progress + 1;
    reached = std::max(reached, a.skip_bytes);
    const auto verdict = progress.take(disk.answer(a));
    if (is_done(verdict)) {
      RC_ASSERT(disk.all_covered());
      return;
    }
    if (const auto* failure = std::get_if<chunk_progress::failed>(&verdict)) {
      RC_ASSERT(failure->os_error == 0 || failure->os_error == -disk.last());
      RC_ASSERT(failure->offset_bytes >= what.offset_bytes &&
                failure->offset_bytes < what.offset_bytes + what.length_bytes);
      RC_ASSERT(is_short || has_hard_errors || without_progress > max_retries);  // never without a reason
      return;
    }
  }
}

}  // namespace
