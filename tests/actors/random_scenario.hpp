#pragma once
/// A history that a seed makes: clients come and go, files fail and change, leases return, models are removed, time
/// passes, and in between every actor and every read gets its turn in any order.
///
/// Owns a world of actors for one history; the files are shared between histories. One thread. After each event: the
/// limit holds, and every new lease holds exactly its file's bytes. At the end: each client that lives has one answer,
/// the bytes are still right, and nothing is left. Failure: the running test, with the seed in its trace.

#include <array>
#include <cerrno>
#include <random>

#include "tests/actors/actor_fixture.hpp"

namespace longshore {

/// What all histories choose from.
class scenario_files {
public:
  scenario_files() {
    const std::array<size_t, 5> sizes{3'000, 40'000, 90'000, 20'000, arena_pool::granule_bytes + 100'000};
    for (size_t i = 0; i < sizes.size(); ++i)
      paths_.push_back(files.write("f" + std::to_string(i), sizes[i], i));
    for (const auto& path : paths_)
      for (auto hold : {hold_choice::owned, hold_choice::owned, hold_choice::mapped})
        requests.push_back(files.request("", {path}, hold));
    requests.push_back(files.request("", {paths_[0], paths_[1]}));
    requests.push_back(files.request("", {paths_[3], paths_[3]}));
  }

  model_files files;
  std::vector<get_model> requests;

private:
  std::vector<std::string> paths_;
};

class random_scenario {
public:
  random_scenario(const scenario_files& files, uint64_t seed)
      : files_(files), random_(seed), world_(options_for(random_)), fault_share_(random_() % 3 * 5) {
    world_.disk.script = [this](const read_request& read, uint64_t) { return next_fault(read); };
    world_.after_each_event = [this] { check_new_answers(); };
  }

  void run() {
    for (int i = 0; i < 300 && !testing::Test::HasFailure(); ++i)
      act();
    end();
  }

private:
  struct client {
    inquiry_ptr<model_answer> asked;
    bool killed = false;
    bool checked = false;
  };

  static world_options options_for(std::mt19937_64& random) {
    world_options options;
    options.limit_bytes = (1 + random() % 4) * arena_pool::granule_bytes;
    options.warm_bytes = random() % 2 * options.limit_bytes;
    options.disk_depth = 1 + random() % 4;
    options.holder.credits = 1 + random() % 6;
    options.holder.chunk_bytes = random() % 2 == 0 ? 16384 : 1 << 20;
    options.holder.page_cache = random() % 4 == 0 ? page_cache_mode::direct : page_cache_mode::buffered;
    return options;
  }

  bool chance(uint64_t percent) { return random_() % 100 < percent; }

  fault next_fault(const read_request& read) {
    if (!chance(fault_share_))
      return no_fault{};
    switch (random_() % 5) {
      case 0:
        return short_read{random_() % (read.length_bytes + 1)};
      case 1:
        return failing_read{EIO};
      case 2:
        return failing_read{EAGAIN};
      default:
        return failing_read{EINTR};
    }
  }

  void act() {
    const auto dice = random_() % 100;
    if (dice < 60) {
      world_.step_shuffled(random_);
    } else if (dice < 80) {
      if (clients_.size() < 24)
        ask();
    } else if (dice < 88) {
      return_lease();
    } else if (dice < 91) {
      kill_client();
    } else if (dice < 96) {
      change_cache();
    } else if (dice < 99) {
      world_.scheduler.advance_time(std::chrono::milliseconds{1 + random_() % 400});
    } else if (auto holder = world_.last_named("model_holder"); holder && chance(30)) {
      holder_killed_ = true;
      world_.kill(holder);
    }
  }

  std::string random_key() { return "k" + std::to_string(random_() % 5); }

  void ask() {
    auto request = files_.requests[random_() % files_.requests.size()];
    request.key = random_key();
    request.urgent = chance(50);
    request.keep = chance(5);
    request.mode = chance(80) ? cache_mode::automatic : chance(50) ? cache_mode::override_cache : cache_mode::read_only;
    request.deadline = std::chrono::milliseconds{chance(10) ? 50 + random_() % 500 : 600'000};
    clients_.push_back({.asked = world_.get(request)});
  }

  void return_lease() {
    if (clients_.empty())
      return;
    auto& chosen = clients_[random_() % clients_.size()];
    for (auto& answer : chosen.asked->answers) {
      EXPECT_TRUE(!answer.lease || files_.files.holds_right_bytes(answer));
      answer.lease.reset();
    }
  }

  void kill_client() {
    if (clients_.empty())
      return;
    auto& chosen = clients_[random_() % clients_.size()];
    chosen.killed = true;
    world_.kill(chosen.asked->asker);
  }

  void change_cache() {
    switch (random_() % 3) {
      case 0:
        changes_.push_back(world_.ask<cache_answer>(world_.registry, remove_model{random_key()}));
        break;
      case 1:
        changes_.push_back(world_.ask<cache_answer>(world_.registry, keep_model{random_key(), chance(20)}));
        break;
      default:
        changes_.push_back(world_.ask<cache_answer>(world_.registry, clear_models{}));
    }
  }

  void check_new_answers() {
    for (auto& one : clients_) {
      EXPECT_LE(one.asked->answers.size(), 1U);
      EXPECT_TRUE(one.asked->lost.empty());
      if (one.checked || one.asked->answers.empty())
        continue;
      one.checked = true;
      const auto& answer = one.asked->answers.front();
      EXPECT_TRUE(answer.lease ? files_.files.holds_right_bytes(answer) : answer.reason.code != errc{});
      // The pool refuses what the registry granted only when the registry's sum was wrong. A holder that was killed
      // may leave reads in flight behind, whose memory nobody counts any more.
      EXPECT_TRUE(holder_killed_ || !answer.reason.what.starts_with("an arena of")) << to_text(answer.reason);
    }
  }

  /// Lets all of it end: everything waits at most for a deadline. Then stops, at times in the middle.
  void end() {
    if (chance(50))
      settle();
    const auto stopped = world_.stop();
    settle();
    EXPECT_TRUE(stopped->answered());
    for (auto& one : clients_) {
      EXPECT_TRUE(one.killed || one.asked->answered());
      return_all(one);
    }
    for (const auto& change : changes_)
      EXPECT_TRUE(change->answered());
    settle();
    world_.stop_and_expect_empty();
  }

  void settle() {
    while (world_.step_shuffled(random_)) {
    }
    for (int i = 0; i < 4; ++i)
      world_.advance(std::chrono::minutes{3});
  }

  void return_all(client& one) {
    for (auto& answer : one.asked->answers) {
      EXPECT_TRUE(!answer.lease || files_.files.holds_right_bytes(answer));
      answer.lease.reset();
    }
  }

  const scenario_files& files_;
  std::mt19937_64 random_;
  actor_world world_;
  uint64_t fault_share_;
  bool holder_killed_ = false;
  std::vector<client> clients_;
  std::vector<inquiry_ptr<cache_answer>> changes_;
};

}  // namespace longshore
