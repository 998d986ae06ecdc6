// Plans are data: what every plan keeps, and the table of which path is taken when.
#include "io/read_plan.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

using namespace longshore;

namespace {

uint64_t nothing_cached(uint64_t, uint64_t) { return 0; }
uint64_t all_cached(uint64_t, uint64_t length) { return length; }

RC_GTEST_PROP(read_plan, covers_its_range_in_aligned_pieces, ()) {
  plan_options options;
  options.alignment_bytes = uint64_t{1} << *rc::gen::inRange(9, 17);
  options.chunk_bytes = options.alignment_bytes * *rc::gen::inRange<uint64_t>(1, 40);
  const auto begin = *rc::gen::inRange<uint64_t>(0, 1 << 22);
  const auto end = begin + *rc::gen::inRange<uint64_t>(1, 1 << 22);
  const auto salt = *rc::gen::arbitrary<uint64_t>();
  uint64_t probed = 0;
  const auto plan = plan_reads(begin, end, options, [&](uint64_t offset, uint64_t length) {
    ++probed;
    return (offset * 31 + salt) % (length + 1);
  });
  RC_ASSERT(!plan.empty());
  RC_ASSERT(probed == plan.size());
  RC_ASSERT(plan.front().offset_bytes == begin - begin % options.alignment_bytes);
  auto next = plan.front().offset_bytes;
  for (const auto& c : plan) {
    RC_ASSERT(c.offset_bytes == next);
    RC_ASSERT(c.offset_bytes % options.alignment_bytes == 0u);
    RC_ASSERT(c.length_bytes > 0u && c.length_bytes <= options.chunk_bytes);
    next = c.offset_bytes + c.length_bytes;
    RC_ASSERT(next == end || next % options.chunk_bytes == 0u);
    const auto cached = (c.offset_bytes * 31 + salt) % (c.length_bytes + 1);
    RC_ASSERT(c.was_resident == (2 * cached > c.length_bytes));
    RC_ASSERT(c.path == (c.was_resident ? read_path::buffered : read_path::direct));
  }
  RC_ASSERT(next == end);
}

TEST(read_plan, an_empty_range_is_an_empty_plan) {
  EXPECT_TRUE(plan_reads(0, 0, {}, nothing_cached).empty());
  EXPECT_TRUE(plan_reads(5000, 5000, {}, nothing_cached).empty());
  EXPECT_TRUE(plan_reads(5001, 5000, {}, nothing_cached).empty());
}

TEST(read_plan, an_uneven_begin_does_not_shift_what_follows) {
  const plan_options options{.chunk_bytes = 8192};
  EXPECT_EQ(plan_reads(5000, 20'000, options, nothing_cached),
            (std::vector<chunk>{{4096, 4096, read_path::direct, false},
                                {8192, 8192, read_path::direct, false},
                                {16'384, 3616, read_path::direct, false}}));
}

struct path_case {
  page_cache_mode mode;
  bool resident;
  bool leave_in_cache;
  read_path path;
};

constexpr auto automatic = page_cache_mode::automatic;
constexpr path_case path_cases[] = {
    {automatic, false, false, read_path::direct},
    {automatic, false, true, read_path::buffered},
    {automatic, true, false, read_path::buffered},
    {automatic, true, true, read_path::buffered},
    {page_cache_mode::direct, false, false, read_path::direct},
    {page_cache_mode::direct, false, true, read_path::direct},
    {page_cache_mode::direct, true, false, read_path::direct},
    {page_cache_mode::direct, true, true, read_path::direct},
    {page_cache_mode::buffered, false, false, read_path::buffered},
    {page_cache_mode::buffered, false, true, read_path::buffered},
    {page_cache_mode::buffered, true, false, read_path::buffered},
    {page_cache_mode::buffered, true, true, read_path::buffered},
};

TEST(read_plan, the_path_follows_the_mode_and_what_is_cached) {
  for (const auto& [mode, resident, leave_in_cache, path] : path_cases)
    for (const bool direct_possible : {true, false})
      for (const bool mapped : {true, false}) {
        const plan_options options{
            .mode = mode, .direct_possible = direct_possible, .mapped = mapped, .leave_in_cache = leave_in_cache};
        const auto plan = plan_reads(0, 100, options, resident ? all_cached : nothing_cached);
        const auto expected_path = mapped ? read_path::populate : direct_possible ? path : read_path::buffered;
        EXPECT_EQ(plan, (std::vector<chunk>{{0, 100, expected_path, resident}}))
            << name(mode) << " resident " << resident << " left " << leave_in_cache << " direct " << direct_possible
            << " mapped " << mapped;
      }
}

TEST(read_plan, the_share_that_makes_a_chunk_resident_is_an_option) {
  const auto quarter_cached = [](uint64_t, uint64_t length) { return length / 4; };
  EXPECT_FALSE(plan_reads(0, 4096, {}, quarter_cached).front().was_resident);
  EXPECT_TRUE(plan_reads(0, 4096, {.resident_share = 0.2}, quarter_cached).front().was_resident);
}

TEST(read_plan, paths_and_modes_have_names) {
  EXPECT_EQ(name(read_path::direct), "direct");
  EXPECT_EQ(name(read_path::buffered), "buffered");
  EXPECT_EQ(name(read_path::populate), "populate");
  EXPECT_EQ(name(page_cache_mode::automatic), "auto");
  EXPECT_EQ(name(page_cache_mode::direct), "direct");
  EXPECT_EQ(name(page_cache_mode::buffered), "buffered");
}

}  // namespace
