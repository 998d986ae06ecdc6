// The whole runtime with real threads, real files and both engines. What ThreadSanitizer shall see runs here.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <future>
#include <set>
#include <thread>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "actors/runtime.hpp"
#include "io/digest.hpp"
#include "tests/actors/mapping_witness.hpp"
#include "tests/actors/model_files.hpp"
#include "tests/io/decoded_trace.hpp"

namespace longshore {
namespace {

constexpr uint64_t mebibyte = 1 << 20;

std::unique_ptr<runtime> started(runtime_options options = {}) {
  if (options.host_limit_bytes == 0)
    options.host_limit_bytes = 256 * mebibyte;
  options.warm_bytes = 0;
  auto made = runtime::start(std::move(options));
  EXPECT_TRUE(made.has_value()) << to_text(made.error());
  return std::move(*made);
}

/// Runs `work` in so many threads at once.
template <class Work>
void in_threads(size_t count, Work work) {
  std::vector<std::thread> threads;
  for (size_t i = 0; i < count; ++i)
    threads.emplace_back([=] { work(i); });
  for (auto& thread : threads)
    thread.join();
}

struct engine_and_hold {
  engine_kind engine;
  hold_choice hold;
};

class real_runtime : public testing::TestWithParam<engine_and_hold> {
protected:
  runtime_options options() const {
    runtime_options made;
    made.engine.kind = GetParam().engine;
    made.holder.chunk_bytes = mebibyte;
    return made;
  }
  get_model request(const std::string& key, size_t bytes, uint64_t seed) {
    const auto path = files.write(key, bytes, seed);
    make_cold(path);
    return files.request(key, {path}, GetParam().hold);
  }
  model_files files;
};

INSTANTIATE_TEST_SUITE_P(all, real_runtime,
                         testing::Values(engine_and_hold{engine_kind::io_uring, hold_choice::owned},
                                         engine_and_hold{engine_kind::io_uring, hold_choice::mapped},
                                         engine_and_hold{engine_kind::threads, hold_choice::owned},
                                         engine_and_hold{engine_kind::threads, hold_choice::mapped}),
                         [](const auto& param) {
                           return std::string{name(param.param.engine)} +
                                  (param.param.hold == hold_choice::owned ? "_owned" : "_mapped");
                         });

TEST_P(real_runtime, answers_sixty_four_threads_with_one_load) {
  const auto wanted = request("m", 12 * mebibyte + 77, 1);
  std::atomic<uint64_t> most_done{0};
  auto with_progress = options();
  with_progress.on_progress = [&](const load_progress& news) {
    most_done = std::max<uint64_t>(most_done, news.bytes_done);
  };
  auto loader = started(with_progress);
  EXPECT_EQ(loader->engine_name(), name(GetParam().engine));
  std::vector<expected<model_answer>> answers(64);
  in_threads(64, [&](size_t i) { answers[i] = loader->load(wanted); });
  std::set<const held_file*> held;
  for (const auto& answer : answers) {
    ASSERT_TRUE(answer.has_value()) << to_text(answer.error());
    held.insert(answer->lease->model().files.at(0).get());
  }
  EXPECT_EQ(held.size(), 1U);
  EXPECT_TRUE(files.holds_right_bytes(*answers[0]));
  EXPECT_EQ(loader->list()->entries.at(0).leases, 64U);
  EXPECT_TRUE(loader->stop().has_value());
  EXPECT_EQ(most_done, fs::file_size(files.path("m")));
}

TEST_P(real_runtime, can_go_while_leases_live) {
  auto loader = started(options());
  auto answer = loader->load(request("m", 3 * mebibyte, 2));
  loader.reset();
  ASSERT_TRUE(answer.has_value()) << to_text(answer.error());
  EXPECT_TRUE(files.holds_right_bytes(*answer));
}

TEST_P(real_runtime, ends_loads_under_way_when_told) {
  std::vector<get_model> wanted;
  for (uint64_t i = 0; i < 4; ++i)
    wanted.push_back(request("m" + std::to_string(i), 8 * mebibyte, i));
  auto loader = started(options());
  std::vector<expected<model_answer>> answers(wanted.size());
  std::thread canceller{[&] { loader->cancel_all(); }};
  in_threads(wanted.size(), [&](size_t i) { answers[i] = loader->load(wanted[i]); });
  canceller.join();
  for (const auto& answer : answers)
    EXPECT_TRUE(answer ? files.holds_right_bytes(*answer) : answer.error().code == errc::stopped);
  EXPECT_TRUE(loader->stop().has_value());
}

TEST_P(real_runtime, serves_many_keys_under_a_limit_for_two) {
  auto tight = options();
  tight.host_limit_bytes = 16 * mebibyte;
  std::vector<get_model> wanted;
  for (uint64_t i = 0; i < 6; ++i)
    wanted.push_back(request("m" + std::to_string(i), 7 * mebibyte, i));
  auto loader = started(tight);
  arena_calls::forget_most();
  in_threads(6, [&](size_t i) {
    for (size_t round = 0; round < 4; ++round) {
      const auto answer = loader->load(wanted[(i + round) % wanted.size()]);
      EXPECT_TRUE(answer && files.holds_right_bytes(*answer)) << to_text(answer ? error{} : answer.error());
    }
  });
  EXPECT_LE(arena_calls::bytes_at_most(), tight.host_limit_bytes);
  EXPECT_EQ(arena_calls::bytes_at_most() == 0, GetParam().hold == hold_choice::mapped);
  EXPECT_TRUE(loader->stop().has_value());
  EXPECT_EQ(arena_calls::bytes_now(), 0U);
}

TEST_P(real_runtime, never_has_two_keys_under_a_limit_for_one) {
  auto tight = options();
  tight.host_limit_bytes = 8 * mebibyte;
  const std::vector<get_model> wanted{request("a", 7 * mebibyte, 1), request("b", 7 * mebibyte, 2)};
  auto loader = started(tight);
  arena_calls::forget_most();
  in_threads(2, [&](size_t i) {
    for (int round = 0; round < 10; ++round) {
      const auto answer = loader->load(wanted[i]);
      EXPECT_TRUE(answer && files.holds_right_bytes(*answer)) << to_text(answer ? error{} : answer.error());
    }
  });
  EXPECT_LE(arena_calls::bytes_at_most(), tight.host_limit_bytes);
}

TEST_P(real_runtime, writes_a_trace_whose_reads_add_up_to_the_file) {
  auto traced = options();
  traced.trace_path = files.path("trace");
  const auto wanted = request("m", 9 * mebibyte, 3);
  auto loader = started(traced);
  EXPECT_TRUE(loader->load(wanted).has_value());
  EXPECT_TRUE(loader->stop().has_value());
  std::ifstream in{traced.trace_path, std::ios::binary};
  const perfetto::decoded_trace trace{std::string{std::istreambuf_iterator<char>(in), {}}};
  expect_flat_tracks(trace);
  EXPECT_FALSE(trace.named("get_model").empty());
  uint64_t read_bytes = 0;
  for (const auto* kind : {"read direct", "read buffered", "populate"})
    for (const auto& event : trace.named(kind))
      if (event.type == perfetto::event_type::slice_begin && event.numbers.contains("bytes"))
        read_bytes += event.numbers.at("bytes");
  EXPECT_EQ(read_bytes, fs::file_size(files.path("m")));
}

TEST_P(real_runtime, writes_one_trace_after_the_other_while_it_runs) {
  auto loader = started(options());
  for (const auto* name : {"first", "second"}) {
    ASSERT_TRUE(loader->begin_trace(files.path(name)).has_value());
    EXPECT_EQ(loader->begin_trace(files.path("other")).error().code, errc::bad_argument);
    EXPECT_TRUE(loader->load(request(name + std::string{" model"}, mebibyte, 3)).has_value());
    EXPECT_TRUE(loader->finish_trace().has_value());
    std::ifstream in{files.path(name), std::ios::binary};
    const perfetto::decoded_trace trace{std::string{std::istreambuf_iterator<char>(in), {}}};
    EXPECT_EQ(trace.named("file_opened").size(), 1U) << "of the one load in its time";
  }
  EXPECT_TRUE(loader->finish_trace().has_value()) << "there is none";
  EXPECT_EQ(loader->begin_trace("/no/such/folder/trace").error().code, errc::io_failed);
}

TEST_P(real_runtime, begins_many_loads_without_waiting) {
  auto loader = started(options());
  const auto wanted = request("m", 9 * mebibyte, 3);
  std::promise<void> all;
  std::atomic<int> right{0}, answered{0};
  std::vector<load_handle> handles;
  for (int i = 0; i < 100; ++i)
    handles.push_back(loader->begin(wanted, [&](const expected<model_answer>& answer) {
      right += answer && files.holds_right_bytes(*answer) ? 1 : 0;
      if (++answered == 100)
        all.set_value();
    }));
  EXPECT_EQ(all.get_future().wait_for(std::chrono::seconds{60}), std::future_status::ready);
  EXPECT_EQ(right, 100);
  handles.front().cancel();  // of what is over: nothing
  EXPECT_EQ(loader->list()->entries.size(), 1U);
}

TEST(runtime_hits, from_many_threads_all_hold_the_same_bytes) {
  model_files files;
  const auto wanted = files.request("m", {files.write("m", mebibyte, 1)});
  auto loader = started();
  ASSERT_TRUE(loader->load(wanted).has_value());
  in_threads(4, [&](size_t) {
    for (int i = 0; i < 100; ++i)
      EXPECT_TRUE(loader->load(wanted)->hit);
  });
  EXPECT_EQ(loader->list()->entries.at(0).leases, 0U) << "the registry heard of each return before this question";
}

TEST(runtime_calls, report_what_the_registry_says) {
  model_files files;
  const auto wanted = files.request("m", {files.write("m", mebibyte, 1)});
  auto loader = started();
  const auto done =
      loader->preload({{.request = wanted}, {.request = {}, .reason = {errc::not_found, "no such file"}}});
  ASSERT_TRUE(done.has_value());
  EXPECT_TRUE(files.holds_right_bytes(done->at(0).answer));
  EXPECT_EQ(done->at(1).answer.reason.code, errc::not_found);
  EXPECT_TRUE(loader->keep("m", true).has_value());
  EXPECT_TRUE(loader->list()->entries.at(0).kept);
  EXPECT_TRUE(loader->remove("m").has_value());
  EXPECT_EQ(loader->remove("m").error().code, errc::not_found);
  EXPECT_TRUE(loader->clear().has_value());
  EXPECT_TRUE(loader->stop().has_value());
  EXPECT_EQ(loader->load(wanted).error().code, errc::stopped);
}

/// Refuses io_uring_setup to this thread and to those it starts, as a container's filter would.
void refuse_io_uring(int os_error) {
  sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(os_error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{std::size(rules), rules};
  ASSERT_EQ(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

TEST(callers_memory, takes_the_place_of_arenas_that_are_kept_for_later) {
  model_files files;
  arena_calls::forget_most();
  auto made = runtime::start({.host_limit_bytes = 64 * mebibyte, .warm_bytes = 64 * mebibyte});
  ASSERT_TRUE(made.has_value()) << to_text(made.error());
  ASSERT_TRUE((*made)->load(files.request("m", {files.write("m", 40 * mebibyte, 1)})).has_value());
  ASSERT_TRUE((*made)->clear().has_value());
  const auto block =
      (*made)->register_memory({.name = "output", .bytes = 40 * mebibyte, .on_pressure = [](uint64_t) {}});
  ASSERT_TRUE(block.has_value()) << to_text(block.error());
  EXPECT_LE(arena_calls::bytes_now(), 24 * mebibyte);
  EXPECT_LE(arena_calls::bytes_at_most(), 64 * mebibyte);
}

std::string digest_of(const model_answer& answer) { return xxh3_128_hex(data_of(*answer.lease->model().files.at(0))); }

TEST(io_uring_refused, by_seccomp_leaves_the_threads_with_the_same_bytes) {
  model_files files;
  const auto wanted = files.request("m", {files.write("m", 5 * mebibyte, 1)});
  const auto usual = digest_of(started()->load(wanted).value());
  for (int os_error : {ENOSYS, EPERM}) {
    std::thread confined{[&] {
      refuse_io_uring(os_error);
      auto loader = started();
      EXPECT_EQ(loader->engine_name(), "threads");
      EXPECT_EQ(digest_of(loader->load(wanted).value()), usual);
      const auto by_name = runtime::start({.host_limit_bytes = mebibyte, .engine = {.kind = engine_kind::io_uring}});
      ASSERT_FALSE(by_name.has_value());
      EXPECT_EQ(by_name.error().code, errc::unsupported);
      EXPECT_EQ(by_name.error().os_error, os_error);
    }};
    confined.join();
  }
}

}  // namespace
}  // namespace longshore
