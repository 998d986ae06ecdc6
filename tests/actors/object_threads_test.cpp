// Objects in a whole runtime with real threads: what ThreadSanitizer shall see.
#include <atomic>
#include <chrono>
#include <future>
#include <thread>
#include <vector>

#include "actors/runtime.hpp"
#include "tests/actors/model_files.hpp"

namespace longshore {
namespace {

constexpr uint64_t mebibyte = 1 << 20;
constexpr std::chrono::seconds patience{30};

std::unique_ptr<runtime> started(uint64_t limit_bytes) {
  auto made = runtime::start({.host_limit_bytes = limit_bytes, .warm_bytes = 0});
  EXPECT_TRUE(made.has_value()) << to_text(made.error());
  return std::move(*made);
}

get_model look_up(const std::string& key) {
  return {.key = key, .kind = model_kind::data, .mode = cache_mode::read_only};
}

TEST(real_objects, end_on_an_actors_thread_when_their_memory_is_needed) {
  model_files files;
  auto loader = started(8 * mebibyte);
  std::promise<std::thread::id> ended;
  const auto tell = [&ended](const int* value) {
    delete value;
    ended.set_value(std::this_thread::get_id());
  };
  ASSERT_TRUE(loader->put({.key = "latent",
                           .kind = model_kind::data,
                           .bytes = 6 * mebibyte,
                           .payload = std::shared_ptr<const int>{new int{42}, tell}}));
  auto found = loader->load(look_up("latent"));
  ASSERT_TRUE(found.has_value()) << to_text(found.error());
  EXPECT_EQ(*static_cast<const int*>(found->lease->model().object.get()), 42);
  found->lease.reset();
  ASSERT_TRUE(loader->load(files.request("m", {files.write("m", 5 * mebibyte, 1)})).has_value());
  auto news = ended.get_future();
  ASSERT_EQ(news.wait_for(patience), std::future_status::ready);
  EXPECT_NE(news.get(), std::this_thread::get_id());
  EXPECT_EQ(loader->load(look_up("latent")).error().code, errc::not_found);
  EXPECT_EQ(loader->list()->counts.evictions, 1U);
}

TEST(real_objects, are_refused_with_a_reason) {
  auto loader = started(8 * mebibyte);
  const auto large = loader->put({.key = "large", .bytes = 9 * mebibyte, .payload = std::make_shared<const int>(1)});
  ASSERT_FALSE(large.has_value());
  EXPECT_EQ(large.error().code, errc::out_of_budget);
  EXPECT_TRUE(loader->stop().has_value());
  EXPECT_EQ(loader->put({.key = "late", .payload = std::make_shared<const int>(1)}).error().code, errc::stopped);
}

TEST(real_objects, come_and_go_from_many_threads) {
  struct counted {
    explicit counted(std::atomic<int>& all) : alive(all) { ++alive; }
    ~counted() { --alive; }
    std::atomic<int>& alive;
    int value = 42;
  };
  std::atomic<int> alive{0}, granted{0}, found{0};
  model_files files;
  const auto model = files.request("m", {files.write("m", 3 * mebibyte, 1)});
  auto loader = started(8 * mebibyte);
  std::vector<std::thread> threads;
  for (uint64_t thread = 0; thread < 4; ++thread)
    threads.emplace_back([&, thread] {
      for (uint64_t i = 0; i < 100; ++i) {
        const auto key = "k" + std::to_string((thread + i) % 3);
        // A lease that waits for other memory would wait for the other threads', as theirs for it.
        granted += loader->put({.key = key,
                                .kind = model_kind::data,
                                .bytes = (thread + 1) * mebibyte / 2,
                                .payload = std::make_shared<const counted>(alive)})
                           .has_value()
                       ? 1
                       : 0;
        if (const auto there = loader->load(look_up("k0"))) {
          ++found;
          EXPECT_EQ(static_cast<const counted*>(there->lease->model().object.get())->value, 42);
        }
        if (i % 10 == 0)
          std::ignore = loader->remove(key);
        if (i % 25 == 0) {
          const auto loaded = loader->load(model);
          EXPECT_TRUE(loaded && files.holds_right_bytes(*loaded)) << to_text(loaded ? error{} : loaded.error());
        }
      }
    });
  for (auto& thread : threads)
    thread.join();
  EXPECT_EQ(granted, 400);
  EXPECT_GT(found, 0);
  EXPECT_EQ(loader->list()->counts.puts, 400U);
  EXPECT_TRUE(loader->stop().has_value());
  loader.reset();
  EXPECT_EQ(alive, 0);
}

TEST(real_objects, that_are_leased_outlive_the_runtime) {
  auto loader = started(mebibyte);
  std::weak_ptr<const int> watched;
  {
    auto payload = std::make_shared<const int>(7);
    watched = payload;
    const auto leased = loader->put({.key = "latent", .bytes = 10, .payload = std::exchange(payload, nullptr)});
    ASSERT_TRUE(leased.has_value()) << to_text(leased.error());
    loader.reset();
    EXPECT_EQ(*static_cast<const int*>(leased->lease->model().object.get()), 7);
  }
  EXPECT_TRUE(watched.expired());
}

}  // namespace
}  // namespace longshore
