// Arenas against two witnesses: the pool's own count, and what the kernel says is mapped.
#include "io/arena.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <fstream>
#include <map>
#include <random>
#include <shared_mutex>
#include <sstream>
#include <thread>

#include "tests/io/test_files.hpp"

using namespace longshore;

namespace {

constexpr uint64_t granule = arena_pool::granule_bytes;

/// Bytes that the kernel has mapped for arenas: only they ask for huge pages ("hg" in smaps) or carry their name.
uint64_t arena_bytes_by_the_kernel() {
  std::ifstream smaps("/proc/self/smaps");
  uint64_t sum = 0, region = 0;
  bool is_arena = false;
  for (std::string line; std::getline(smaps, line);) {
    uint64_t begin = 0, end = 0;
    char dash = 0;
    if (std::istringstream fields{line}; fields >> std::hex >> begin >> dash >> end && dash == '-') {
      sum += is_arena ? region : 0;
      region = end - begin;
      is_arena = line.ends_with("[anon:longshore arena]");
    } else if (line.starts_with("VmFlags:")) {
      is_arena = is_arena || line.find(" hg") != std::string::npos;
    }
  }
  return sum + (is_arena ? region : 0);
}

/// Writes a byte to each page.
void touch(const arena& a, char value) {
  for (size_t i = 0; i < a.size_bytes(); i += 4096)
    static_cast<volatile std::byte*>(a.data())[i] = static_cast<std::byte>(value);
}

long faults_of_this_thread() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_minflt;
}

TEST(arena, the_kernel_shows_an_arena) {
  const auto pool = arena_pool::make(8 * granule, 0);
  const auto a = pool->acquire(3 * granule);
  ASSERT_TRUE(a) << to_text(a.error());
  EXPECT_EQ(arena_bytes_by_the_kernel(), 3 * granule) << "without this witness the tests below would see nothing";
}

TEST(arena, takes_whole_huge_pages_aligned_and_zeroed) {
  const auto pool = arena_pool::make(16 * granule, 0);
  for (const uint64_t bytes : {uint64_t{0}, uint64_t{1}, granule, granule + 1, 3 * granule}) {
    const auto a = pool->acquire(bytes);
    ASSERT_TRUE(a) << to_text(a.error());
    EXPECT_EQ(a->size_bytes(), std::max(granule, arena_pool::rounded(bytes)));
    EXPECT_GE(a->size_bytes(), bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(a->data()) % granule, 0u);
    EXPECT_TRUE(std::all_of(a->data(), a->data() + a->size_bytes(), [](auto b) { return b == std::byte{0}; }));
  }
}

TEST(arena, what_does_not_fit_is_refused_with_the_numbers) {
  const auto pool = arena_pool::make(4 * granule, 4 * granule);
  const auto a = pool->acquire(3 * granule);
  ASSERT_TRUE(a);
  const auto refused = pool->acquire(granule + 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::out_of_budget);
  EXPECT_NE(refused.error().what.find("8388608"), std::string::npos) << refused.error().what;
  EXPECT_NE(refused.error().what.find("6291456 in use"), std::string::npos) << refused.error().what;
  EXPECT_TRUE(pool->acquire(granule));
}

TEST(arena, sizes_that_overflow_do_not_fit) {
  const auto pool = arena_pool::make(4 * granule, 0);
  for (const auto bytes : {~uint64_t{0}, ~uint64_t{0} - granule, uint64_t{1} << 63}) {
    const auto refused = pool->acquire(bytes);
    ASSERT_FALSE(refused) << bytes;
    EXPECT_EQ(refused.error().code, errc::out_of_budget);
  }
  const auto boundless = arena_pool::make(~uint64_t{0}, 0);
  const auto refused = boundless->acquire(uint64_t{1} << 62);  // more addresses than there are
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, errc::out_of_budget);
  EXPECT_EQ(refused.error().os_error, ENOMEM);
  EXPECT_EQ(boundless->mapped_bytes(), 0u);
}

TEST(arena, a_warm_arena_costs_no_page_faults) {
  const auto pool = arena_pool::make(8 * granule, 8 * granule);
  const std::byte* where = nullptr;
  {
    const auto a = pool->acquire(4 * granule);
    ASSERT_TRUE(a);
    where = a->data();
    EXPECT_EQ(pages_in_memory(a->data(), a->size_bytes()), 0u);
    touch(*a, 7);
  }
  EXPECT_EQ(pool->idle_bytes(), 4 * granule);
  const auto again = pool->acquire(4 * granule);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->data(), where);
  EXPECT_EQ(pages_in_memory(again->data(), again->size_bytes()), again->size_bytes() / 4096);
  EXPECT_EQ(again->data()[granule], std::byte{7});
  const auto before = faults_of_this_thread();
  touch(*again, 8);
  EXPECT_LE(faults_of_this_thread() - before, 8);
}

TEST(arena, a_smaller_arena_takes_the_front_of_a_warm_one_and_unmaps_the_rest) {
  const auto pool = arena_pool::make(8 * granule, 8 * granule);
  {
    const auto a = pool->acquire(5 * granule);
  }
  const auto smaller = pool->acquire(2 * granule);
  EXPECT_EQ(pool->mapped_bytes(), 2 * granule);
  EXPECT_EQ(pool->idle_bytes(), 0u);
  EXPECT_EQ(arena_bytes_by_the_kernel(), 2 * granule);
}

TEST(arena, the_smallest_warm_one_that_is_large_enough_is_taken) {
  const auto pool = arena_pool::make(16 * granule, 16 * granule);
  const std::byte* middle = nullptr;
  {
    const auto large = pool->acquire(6 * granule), fitting = pool->acquire(3 * granule), small = pool->acquire(granule);
    middle = fitting->data();
  }
  EXPECT_EQ(pool->acquire(2 * granule)->data(), middle);
}

TEST(arena, idle_arenas_beyond_the_warm_bytes_are_unmapped_the_oldest_first) {
  const auto pool = arena_pool::make(8 * granule, 3 * granule);
  auto first = pool->acquire(2 * granule), second = pool->acquire(2 * granule), third = pool->acquire(granule);
  const auto* kept = second->data();
  *first = arena{};
  *second = arena{};
  *third = arena{};
  EXPECT_EQ(pool->idle_bytes(), 3 * granule);
  EXPECT_EQ(arena_bytes_by_the_kernel(), 3 * granule);
  EXPECT_EQ(pool->acquire(2 * granule)->data(), kept);
}

TEST(arena, idle_arenas_make_room_for_a_new_one) {
  const auto pool = arena_pool::make(4 * granule, 4 * granule);
  {
    const auto a = pool->acquire(granule), b = pool->acquire(2 * granule);
  }
  const auto whole = pool->acquire(4 * granule);
  ASSERT_TRUE(whole) << to_text(whole.error());
  EXPECT_EQ(pool->idle_bytes(), 0u);
  EXPECT_EQ(arena_bytes_by_the_kernel(), 4 * granule);
}

TEST(arena, idle_arenas_leave_room_for_others_as_long_as_they_want_it) {
  const auto pool = arena_pool::make(4 * granule, 4 * granule);
  const auto come_and_go = [&] {
    const auto a = pool->acquire(granule), b = pool->acquire(granule), c = pool->acquire(granule);
  };
  come_and_go();
  auto one = pool->leave_room(granule), other = pool->leave_room(2 * granule);
  EXPECT_EQ(pool->idle_bytes(), granule) << "3 of 4 are for others";
  one.reset();
  come_and_go();
  EXPECT_EQ(pool->idle_bytes(), 2 * granule);
  other.reset();
  come_and_go();
  EXPECT_EQ(pool->idle_bytes(), 3 * granule);
  EXPECT_TRUE(pool->acquire(4 * granule)) << "what is in use is not looked at";
}

TEST(arena, moves_hand_over_the_memory_and_nothing_else) {
  const auto pool = arena_pool::make(4 * granule, 0);
  auto a = pool->acquire(granule);
  const auto* data = a->data();
  arena b{std::move(*a)};
  EXPECT_EQ(a->data(), nullptr);
  arena c;
  c = std::move(b);
  EXPECT_EQ(c.data(), data);
  EXPECT_EQ(pool->mapped_bytes(), granule);
  c = arena{};
  EXPECT_EQ(pool->mapped_bytes(), 0u);
}

TEST(arena, outlives_the_handle_of_its_pool) {
  auto pool = arena_pool::make(4 * granule, 4 * granule);
  auto a = pool->acquire(granule);
  const std::weak_ptr<arena_pool> watched = pool;
  pool.reset();
  EXPECT_FALSE(watched.expired());
  touch(*a, 1);
  *a = arena{};
  EXPECT_TRUE(watched.expired());
  EXPECT_EQ(arena_bytes_by_the_kernel(), 0u);
}

RC_GTEST_PROP(arena, no_history_exceeds_the_limit, ()) {
  const auto limit = *rc::gen::inRange<uint64_t>(1, 12) * granule;
  const auto warm = *rc::gen::inRange<uint64_t>(0, 12) * granule;
  const auto pool = arena_pool::make(limit, warm);
  std::vector<arena> held;
  uint64_t in_use = 0, peak = 0;
  for (const auto step : *rc::gen::container<std::vector<uint8_t>>(rc::gen::arbitrary<uint8_t>())) {
    if (step % 3 != 0) {
      const auto bytes = (step / 3 % 8) * granule + step;
      auto a = pool->acquire(bytes);
      RC_ASSERT(a.has_value() == (in_use + std::max(granule, arena_pool::rounded(bytes)) <= limit));
      if (a) {
        in_use += a->size_bytes();
        held.push_back(std::move(*a));
      }
    } else if (!held.empty()) {
      std::swap(held[step % held.size()], held.back());
      in_use -= held.back().size_bytes();
      held.pop_back();
    }
    RC_ASSERT(pool->mapped_bytes() <= limit);
    RC_ASSERT(pool->mapped_bytes() - pool->idle_bytes() == in_use);
    if (pool->mapped_bytes() > peak) {  // the kernel is slow to ask, so at each new height and at the end
      peak = pool->mapped_bytes();
      RC_ASSERT(arena_bytes_by_the_kernel() == peak);
    }
  }
  RC_ASSERT(arena_bytes_by_the_kernel() == pool->mapped_bytes());
}

TEST(arena, threads_share_a_pool) {
  constexpr uint64_t limit = 12 * granule;
  const auto pool = arena_pool::make(limit, 4 * granule);
  std::shared_mutex looking;  // smaps is no snapshot: what it sums must hold still
  std::atomic<unsigned> working = 4;
  const auto work = [&](unsigned seed) {
    std::mt19937 random{seed};
    std::map<std::byte*, arena> held;
    for (int i = 0; i < 500; ++i) {
      const std::shared_lock guard{looking};
      if (auto a = pool->acquire((1 + random() % 3) * granule)) {
        EXPECT_GE(a->size_bytes(), granule);
        *a->data() = static_cast<std::byte>(seed);  // each arena has one owner: a second would be a data race
        held.emplace(a->data(), std::move(*a));
      }
      if (held.size() > 2 || random() % 2 == 0)
        held.erase(held.begin(), std::next(held.begin(), held.empty() ? 0 : 1));
    }
    --working;
  };
  {
    std::vector<std::jthread> threads;
    for (unsigned seed = 0; seed < 4; ++seed)
      threads.emplace_back(work, seed);
    while (working > 0) {
      EXPECT_LE(pool->mapped_bytes(), limit);
      const std::unique_lock guard{looking};
      const auto seen = arena_bytes_by_the_kernel();
      EXPECT_LE(seen, limit);
      EXPECT_EQ(seen, pool->mapped_bytes());
    }
  }
  EXPECT_EQ(pool->mapped_bytes(), pool->idle_bytes());
  EXPECT_LE(pool->idle_bytes(), 4 * granule);
}

}  // namespace
