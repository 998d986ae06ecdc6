#pragma once
/// A history that a seed makes: clients come and go, files fail and change, objects are put, leases return, models are
/// removed, memory runs short, time passes, and in between every actor, every read and every copy gets its turn in any
/// order.
///
/// Owns a world of actors for one history; the files are shared between histories. One thread. After each event: the
/// limits hold, that of page-locked memory by the device's own count and that of host memory by the objects' own, and
/// every new lease holds exactly its file's bytes. At the end: each client that lives has one answer, the bytes are
/// still right, and nothing is left. Failure: the running test, with the seed in its trace.

#include <array>
#include <cerrno>
#include <random>

#include "tests/actors/actor_fixture.hpp"
#include "tests/actors/any_fault.hpp"
#include "tests/actors/counted_object.hpp"

namespace longshore {

/// What all histories choose from.
class scenario_files {
public:
  explicit scenario_files(bool with_device = false) {
    const std::array<size_t, 5> sizes{3'000, 40'000, 90'000, 20'000, arena_pool::granule_bytes + 100'000};
    for (size_t i = 0; i < sizes.size(); ++i) {
      const auto half = sizes[i] / 4 * 2;
      paths_.push_back(
          files.write("f" + std::to_string(i), {{"a", half, "F16", 2}, {"b", 1}, {"c", half, "BF16", 2}}, i));
    }
    for (const auto& path : paths_)
      for (auto hold : {hold_choice::owned, hold_choice::owned, hold_choice::mapped})
        requests.push_back(files.request("", {path}, hold));
    for (const auto& path : paths_)
      for (const auto* to : {"F32", "F16", "F8_E4M3"})
        requests.push_back(files.request("", {path}, to[1] == '3' ? hold_choice::automatic : hold_choice::owned, to));
    requests.push_back(files.request("", {paths_[0], paths_[1]}));
    requests.push_back(files.request("", {paths_[3], paths_[3]}));
    if (with_device)
      add_requests_of_a_device();
  }

  model_files files;
  std::vector<get_model> requests;

private:
  void add_requests_of_a_device() {
    for (const auto& path : paths_) {
      for (const auto* to : {"", "F32"})
        requests.push_back(files.request("", {path}, hold_choice::pinned, to));
      requests.push_back(files.request("", {path}, hold_choice::device));
      for (int twice = 0; twice < 2; ++twice) {
        requests.push_back(files.request("", {path}, hold_choice::device));
        requests.back().source.files.front().host_copy = true;
      }
    }
    requests.push_back(files.request("", {paths_[0], paths_[4]}, hold_choice::device));
  }

  std::vector<std::string> paths_;
};

class random_scenario {
public:
  random_scenario(const scenario_files& files, uint64_t seed, bool with_device = false)
      : files_(files), random_(seed), options_(options_for(random_, with_device)), world_(options_) {
    fault_share_ = random_() % 3 * 5;
    world_.disk.script = [this](const read_request& read, uint64_t) { return next_fault(read); };
    world_.after_each_event = [this] {
      check_new_answers();
      EXPECT_LE(world_.pool->mapped_bytes() + objects_.granted_bytes, options_.limit_bytes);
      if (world_.device) {
        EXPECT_LE(world_.device->locked_bytes(), options_.pin_limit_bytes);
      }
    };
    if (world_.device)
      world_.device->fails = [this](const char*) { return chance(fault_share_); };
  }

  void run() {
    for (int i = 0; i < 300 && !testing::Test::HasFailure(); ++i)
      act();
    end();
  }

private:
  struct client {
    inquiry_ptr<model_answer> asked;
    bool is_patient = false;  // its deadline is longer than all waits of a load together
    bool killed = false;
    bool checked = false;
  };

  static world_options options_for(std::mt19937_64& random, bool with_device) {
    world_options options;
    options.limit_bytes = (1 + random() % 4) * arena_pool::granule_bytes;
    options.warm_bytes = random() % 2 * options.limit_bytes;
    options.disk_depth = 1 + random() % 4;
    options.holder.credits = 1 + random() % 6;
    options.holder.chunk_bytes = random() % 2 == 0 ? 16384 : 1 << 20;
    options.holder.page_cache = random() % 4 == 0 ? page_cache_mode::direct : page_cache_mode::buffered;
    options.scratch_bytes = (1 + random() % 2) * arena_pool::granule_bytes;
    if (!with_device)
      return options;
    options.holder.pin_segment_bytes = arena_pool::granule_bytes;
    options.staging_bytes = (1 + random() % 2) * arena_pool::granule_bytes;
    options.limit_bytes += options.staging_bytes;
    options.pin_limit_bytes = random() % 4 * arena_pool::granule_bytes;
    options.device_limit_bytes = (2 + random() % 3) * arena_pool::granule_bytes;
    options.device = std::make_shared<stepped_device>(options.device_limit_bytes + options.holder.chunk_bytes);
    return options;
  }

  bool chance(uint64_t percent) { return random_() % 100 < percent; }

  fault next_fault(const read_request& read) { return chance(fault_share_) ? any_fault(random_, read) : no_fault{}; }

  void act() {
    const auto dice = random_() % 100;
    if (dice < 60) {
      for (auto events = 1 + random_() % 8; events > 0; --events)  // enough for some loads to be over before the end
        world_.step_shuffled(random_);
    } else if (dice < 80) {
      if (clients_.size() < 24)
        chance(75) ? ask() : put();
    } else if (dice < 88) {
      return_lease();
    } else if (dice < 91) {
      kill_client();
    } else if (dice < 96) {
      change_cache();
    } else if (dice < 99) {
      world_.scheduler.advance_time(std::chrono::milliseconds{1 + random_() % 400});
    } else if (chance(50)) {
      caf::anon_send(world_.arbiter, machine_pressure{random_() % options_.limit_bytes});
    } else if (auto holder = world_.last_named(holders[random_() % holders.size()]); holder && chance(30)) {
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
    clients_.push_back({.asked = world_.get(request), .is_patient = request.deadline >= std::chrono::minutes{10}});
  }

  void put() {
    auto object = counted(objects_, random_key(), random_() % (2 * arena_pool::granule_bytes));
    object.keep = chance(5);
    object.mode = chance(80) ? cache_mode::automatic : cache_mode::override_cache;
    object.deadline = std::chrono::milliseconds{chance(10) ? 50 + random_() % 500 : 600'000};
    clients_.push_back({.asked = world_.put(object)});
  }

  void return_lease() {
    if (clients_.empty())
      return;
    auto& chosen = clients_[random_() % clients_.size()];
    return_all(chosen);
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
      EXPECT_TRUE(answer.lease ? has_right_bytes(answer) : answer.reason.code != errc{});
      EXPECT_FALSE(one.is_patient && answer.reason.code == errc::timed_out &&
                   answer.reason.what.find("may be stuck") != std::string::npos)
          << "a load waited for its deadline, with nothing in its way";
      // The pool refuses what the arbiter granted only when the arbiter's sum was wrong.
      EXPECT_FALSE(answer.reason.what.starts_with("an arena of")) << to_text(answer.reason);
    }
  }

  bool has_right_bytes(const model_answer& answer) {
    if (const auto* object = object_of(answer)) {
      object->granted();
      return object->key() == answer.lease->model().key && answer.lease->model().files.empty();
    }
    for (const auto& file : answer.lease->model().device_files) {
      const auto& content = files_.files.content(file->path());
      auto at = content.size();
      for (auto i = file->tensors().size(); i-- > 0;) {
        const auto bytes = file->tensors()[i].size_bytes();
        at -= bytes;
        if (std::memcmp(world_.device->look(file->address_of(i), bytes), content.data() + at, bytes) != 0)
          return false;
      }
    }
    return files_.files.holds_right_bytes(answer);
  }

  /// Lets all of it end: everything waits at most for a deadline. Then stops, at times in the middle.
  void end() {
    if (chance(50))
      settle();
    fault_share_ = 0;
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
    EXPECT_EQ(objects_.alive, 0U);
  }

  void settle() {
    while (world_.step_shuffled(random_)) {
    }
    for (int seconds = 0; seconds < 900 && someone_waits(); ++seconds)
      world_.advance(std::chrono::seconds{1});  // no more, since each read that is tried again takes one
    world_.advance(std::chrono::minutes{3});
  }

  bool someone_waits() const {
    return std::any_of(clients_.begin(), clients_.end(),
                       [](const client& one) { return !one.killed && !one.asked->answered(); });
  }

  void return_all(client& one) {
    for (auto& answer : one.asked->answers) {
      EXPECT_TRUE(!answer.lease || has_right_bytes(answer));
      answer.lease.reset();
    }
  }

  static constexpr std::array holders{"model_holder", "cast_holder", "device_holder", "object_holder"};

  const scenario_files& files_;
  std::mt19937_64 random_;
  const world_options options_;
  object_counts objects_;
  actor_world world_;
  uint64_t fault_share_ = 0;
  std::vector<client> clients_;
  std::vector<inquiry_ptr<cache_answer>> changes_;
};

}  // namespace longshore
