#pragma once
/// A history of streams that a seed makes: layers are acquired and given back, used on the device by work that runs
/// late, passes begin, budgets change, others need room, reads and copies and allocations fail, host copies go,
/// partners and users die, and in between every actor, every read and every piece of the device's work gets its turn
/// in any order.
///
/// Owns a world of actors for one history. One thread. Always: what the device has at a use's addresses is right when
/// the use is answered, when the device gets to it, and when it ends; the device's memory is within the budgets; no
/// acquire has two answers. At the end: each has one, none was late, and nothing is left. Failure: the running test.

#include <array>
#include <numeric>
#include <random>
#include <set>
#include <string_view>

#include "actors/file_load.hpp"
#include "actors/stream_keeper.hpp"
#include "actors/weight_streamer.hpp"
#include "messages/pressure.hpp"
#include "messages/stream.hpp"
#include "tests/actors/actor_fixture.hpp"
#include "tests/actors/any_fault.hpp"
#include "tests/actors/stream_chances.hpp"
#include "tests/actors/streamed_files.hpp"

namespace longshore {

class stream_scenario {
public:
  stream_scenario(const streamed_files& files, uint64_t seed)
      : files_(files), random_(seed), options_(stream_world_options(random_)), world_(options_) {
    keeper_ = spawn_stream_keeper(world_.system, world_.registry);
    compute_ = world_.device->make_stream().value();
    for (auto count = 1 + random_() % 3; count > 0; --count)
      add_stream();
    set_faults();
    world_.after_each_event = [this] { check(); };
  }

  void run() {
    for (int i = 0; i < 250 && !testing::Test::HasFailure(); ++i)
      act();
    end();
  }

  /// What came of the acquires, so that a test sees that histories are not all refusals.
  uint64_t served() const { return served_; }
  uint64_t refused() const { return refused_; }

private:
  using stream = stream_in_history;
  struct user {
    size_t stream;
    uint32_t layer;
    inquiry_ptr<layer_answer> asked;
    bool on_device;
    bool is_patient;      // its deadline is longer than all that can hold it up
    bool must_be_served;  // nothing is in its way
    bool killed = false;
    bool checked = false;
    std::shared_ptr<layer_use> use{};
  };

  bool chance(uint64_t percent) { return random_() % 100 < percent; }

  holder_services services() {
    return {.reader = world_.reader,
            .arbiter = world_.arbiter,
            .pool = world_.pool,
            .options = options_.holder,
            .target = world_.device,
            .lanes = world_.lanes,
            .copier = world_.copier,
            .keeper = keeper_};
  }

  void add_stream() {
    const auto& model = files_.models[random_() % files_.models.size()];
    stream made{.model = &model};
    made.plan = std::make_shared<const layer_plan>(
        plan_layers(model.parts, model.layers, {.unit_bytes = 1 + random_() % 60'000, .gap_bytes = random_() % 9000})
            .value());
    const auto shape = shape_of(*made.plan);
    const auto model_bytes = std::accumulate(shape.unit_bytes.begin(), shape.unit_bytes.end(), uint64_t{0});
    made.largest_layer_bytes = largest_layer_bytes(shape);
    made.budget_bytes = made.largest_layer_bytes + random_() % (model_bytes * 5 / 4);
    std::vector<streamed_file> parts;
    for (size_t i = 0; i < model.parts.size(); ++i)
      parts.push_back(source_of(made, i));
    made.actor = spawn_weight_streamer(world_.system, made.plan, std::move(parts), services(), world_.lanes.front(),
                                       {.budget_bytes = made.budget_bytes,
                                        .load = 1'000'000 + streams_.size(),
                                        .credits = 1 + random_() % 6,
                                        .reading = planning(options_.holder, model.is_cast)});
    streams_.push_back(std::move(made));
  }

  /// From the disk, from a host copy, or from the latter as long as it is there.
  streamed_file source_of(stream& made, size_t part) {
    const auto& path = made.model->parts[part].path;
    const auto kind = random_() % 3;
    streamed_file from{.path = path};
    if (kind != 1)
      from.file = made.model->opened[part];
    if (kind == 0)
      return from;
    const auto answer =
        world_.load(files_.files.request(path, {path}, chance(50) ? hold_choice::owned : hold_choice::pinned));
    if (!answer.lease) {
      ADD_FAILURE() << to_text(answer.reason);
      return from;
    }
    from.host_copy = caf::actor_cast<caf::actor>(answer.lease->model().lenders.front());
    from.keep = answer.lease;
    made.copies.push_back(from.host_copy);
    return from;
  }

  /// A history has some kinds of faults, or none, and at most one partner that dies.
  void set_faults() {
    fault_share_ = random_() % 3 * 3;
    for (const auto* call : {"allocate", "break", "register", "stream", "queue", "run", "read"})
      if (fault_share_ > 0 && chance(40))
        faults_.insert(call);
    partner_dies_ = chance(10);
    is_calm_ = faults_.empty() && !partner_dies_ && streams_.size() == 1 && chance(80);
    world_.device->fails = [this](const char* call) { return fails(call); };
    world_.disk.script = [this](const read_request& read, uint64_t) {
      return fails("read") ? any_fault(random_, read) : fault{no_fault{}};
    };
  }

  bool fails(std::string_view call) { return faults_.contains(call) && chance(fault_share_); }

  void act() {
    const auto dice = random_() % 100;
    if (dice < 50) {
      for (auto events = 1 + random_() % 12; events > 0; --events)
        world_.step_shuffled(random_);
    } else if (dice < 70) {
      if (users_.size() < 80 && waiting_or_held() < 3)
        acquire(random_() % streams_.size());
    } else if (dice < 86) {
      release_one();
    } else if (dice < 91) {
      begin_pass(random_() % streams_.size());
    } else if (dice < 94) {
      change_budget(streams_[random_() % streams_.size()]);
    } else if (dice < 97) {
      world_.scheduler.advance_time(std::chrono::milliseconds{1 + random_() % 400});
    } else if (!is_calm_) {
      disturb();
    }
  }

  size_t waiting_or_held() const { return static_cast<size_t>(std::count_if(users_.begin(), users_.end(), is_live)); }

  static bool is_live(const user& one) { return !one.killed && (one.use || !one.asked->answered()); }

  void acquire(size_t which) {
    auto& from = streams_[which];
    const auto layers = static_cast<uint32_t>(from.plan->layers.size());
    const auto layer = chance(85) ? from.next_layer % layers : static_cast<uint32_t>(random_() % layers);
    from.next_layer = layer + 1;
    const bool is_short = chance(10);
    acquire_layer wish{.layer = layer, .on_device = chance(60), .deadline = std::chrono::minutes{10}};
    if (is_short)
      wish.deadline = std::chrono::milliseconds{1 + random_() % 500};
    const bool is_alone = waiting_or_held() == 0;
    expect_nothing_of_those_who_wait();
    users_.push_back({.stream = which,
                      .layer = layer,
                      .asked = world_.ask<layer_answer>(from.actor, wish),
                      .on_device = wish.on_device,
                      .is_patient = !is_short,
                      .must_be_served = is_calm_ && is_alone && !is_short && changes_are_over() &&
                                        std::min(from.budget_bytes, room_of_device()) >= from.largest_layer_bytes});
  }

  uint64_t room_of_device() const { return world_.device->memory()->total_bytes - options_.holder.chunk_bytes; }

  void expect_nothing_of_those_who_wait() {
    for (auto& one : users_)
      one.must_be_served = false;
  }

  void begin_pass(size_t which) {
    streams_[which].next_layer = 0;
    if (chance(80))
      caf::anon_send(streams_[which].actor, longshore::begin_pass{});
    else
      caf::anon_send(streams_[which].actor, expect_pass{});
  }

  void change_budget(stream& which) {
    if (!changes_are_over())
      return;  // or the test would not know which of two came last
    expect_nothing_of_those_who_wait();
    if (chance(50)) {
      changes_.push_back(world_.ask<stream_resized>(which.actor, make_room{random_() % 200'000}));
      return;
    }
    highest_budget_bytes_ = std::max(highest_budget_bytes_, sum_of_budgets());  // until the word gets there
    which.budget_bytes = chance(90) ? which.largest_layer_bytes + random_() % 400'000 : random_() % 100'000;
    highest_budget_bytes_ = std::max(highest_budget_bytes_, sum_of_budgets());
    changes_.push_back(world_.ask<stream_resized>(which.actor, resize_stream{which.budget_bytes}));
  }

  uint64_t sum_of_budgets() const {
    uint64_t sum = 0;
    for (const auto& one : streams_)
      sum += one.budget_bytes;
    return sum;
  }

  void disturb() {
    const auto dice = random_() % 100;
    auto& which = streams_[random_() % streams_.size()];
    if (dice < 40) {
      caf::anon_send(keeper_, device_pressure{random_() % 300'000});
    } else if (dice < 60) {
      if (!users_.empty())
        kill(users_[random_() % users_.size()]);
    } else if (dice < 80) {
      if (!which.copies.empty() && chance(50))
        world_.kill(which.copies[random_() % which.copies.size()]);
    } else if (dice < 88) {
      which.has_ended = true;
      caf::anon_send_exit(which.actor, caf::exit_reason::user_shutdown);
    } else if (partner_dies_) {
      partner_dies_ = false;
      partner_died_ = true;
      const std::array partners{world_.reader, world_.copier, keeper_, world_.lanes.front().stager};
      world_.kill(partners[random_() % partners.size()]);
    }
  }

  void kill(user& one) {
    if (one.use)
      return;
    one.killed = true;
    world_.kill(one.asked->asker);
  }

  void release_one() {
    std::vector<user*> held;
    for (auto& one : users_)
      if (one.use)
        held.push_back(&one);
    if (!held.empty())
      release(*held[random_() % held.size()]);
  }

  /// The device may use what was acquired for it until long after the use's end.
  void release(user& one) {
    if (!one.on_device) {
      EXPECT_TRUE(has_right_bytes(one, one.use->addresses()));
      one.use.reset();
      return;
    }
    read_on_device(one);
    const auto faults = std::exchange(faults_, {});  // the test's own events are well
    auto last_use = device_event::record(world_.device, compute_);
    faults_ = faults;
    one.use->end(std::move(last_use.value()));
    one.use.reset();
  }

  void read_on_device(const user& one) {
    world_.device->call(compute_, [this, one, addresses = one.use->addresses(), ready = one.use->ready()] {
      if (streams_[one.stream].has_ended)
        return;  // whoever ends a stream sees to it that the device is done with it
      const bool may_be_rubbish = ready && world_.device->failed_runs() > 0;
      EXPECT_TRUE(may_be_rubbish || has_right_bytes(one, addresses)) << "as the device got to it";
    });
  }

  bool has_right_bytes(const user& one, const std::vector<device_address>& addresses) {
    const auto& right = streams_[one.stream].model->right_bytes[one.layer];
    bool is_right = addresses.size() == right.size();
    for (size_t i = 0; is_right && i < right.size(); ++i)
      is_right = right[i].empty() ||
                 same_bytes({world_.device->look(addresses[i], right[i].size()), right[i].size()}, right[i]);
    return is_right;
  }

  /// After each event.
  void check() {
    for (auto& one : users_)
      if (!one.checked && !one.killed && !one.asked->answers.empty())
        check_answer(one);
    const auto bytes = world_.device->allocated_bytes();
    if (!has_scratch_ && bytes == last_bytes_ + options_.holder.chunk_bytes) {  // the uploader's, at its first run
      has_scratch_ = true;
      last_bytes_ = bytes;
    }
    highest_budget_bytes_ = std::max(highest_budget_bytes_, sum_of_budgets());
    EXPECT_LE(bytes, highest_budget_bytes_ + options_.holder.chunk_bytes);
    if (streams_.size() == 1 && changes_are_over()) {
      EXPECT_LE(bytes, std::max(last_bytes_, sum_of_budgets() + options_.holder.chunk_bytes))
          << "after a shrink it only gets less";
    }
    last_bytes_ = bytes;
    EXPECT_LE(world_.device->locked_bytes(), options_.pin_limit_bytes);
  }

  bool changes_are_over() const {
    return std::all_of(changes_.begin(), changes_.end(), [](const auto& change) { return change->answered(); });
  }

  void check_answer(user& one) {
    one.checked = true;
    const auto& answer = one.asked->answers.front();
    const auto& reason = answer.reason;
    EXPECT_NE(answer.use != nullptr, reason.code != errc{});
    EXPECT_FALSE(one.must_be_served && !answer.use) << "with nothing in its way: " << to_text(reason);
    EXPECT_FALSE(one.is_patient && reason.code == errc::timed_out) << to_text(reason);
    ++(answer.use ? served_ : refused_);
    one.use = answer.use;
    one.asked->answers.front().use = nullptr;
    if (!one.use)
      return;
    EXPECT_TRUE(one.on_device || !one.use->ready());
    if (one.on_device)
      return begin_on_device(one);
    EXPECT_TRUE(has_right_bytes(one, one.use->addresses())) << "as it was answered";
  }

  void begin_on_device(const user& one) {
    const auto faults = std::exchange(faults_, {});
    const auto& ready = one.use->ready();
    EXPECT_TRUE(!ready || world_.device->wait_event(compute_, ready->id()).has_value());
    faults_ = faults;
    read_on_device(one);
  }

  /// Everything comes to rest; whoever still waits then waits for nothing.
  void settle() {
    while (world_.step_shuffled(random_)) {
    }
    for (int seconds = 0; seconds < 300 && someone_waits(); ++seconds)
      world_.advance(std::chrono::seconds{1});
    for (const auto& one : users_)
      EXPECT_FALSE(waits(one)) << "layer " << one.layer << " of stream " << one.stream
                               << " does not come, and nobody says why";
    world_.advance(std::chrono::minutes{11});
    EXPECT_TRUE(changes_are_over());
  }

  bool someone_waits() const {
    return std::any_of(users_.begin(), users_.end(), [this](const user& one) { return waits(one); });
  }

  /// A stream that has ended answers nobody any more.
  bool waits(const user& one) const { return !one.killed && !streams_[one.stream].has_ended && !one.asked->answered(); }

  void end() {
    settle();
    faults_.clear();
    for (auto& one : users_) {
      EXPECT_TRUE(one.killed || one.asked->lost.empty() || streams_[one.stream].has_ended);
      if (one.use)
        release(one);
    }
    users_.clear();
    settle();
    for (const auto& one : streams_)
      caf::anon_send_exit(one.actor, caf::exit_reason::user_shutdown);
    world_.kill(keeper_);
    streams_.clear();
    keeper_ = nullptr;
    settle();
    world_.device->destroy_stream(compute_);
    for (int twice = 0; twice < 2; ++twice)
      world_.advance(std::chrono::minutes{1});  // slots go once nobody has borrowed any for a while
    if (!partner_died_)
      world_.stop_and_expect_empty();
  }

  const streamed_files& files_;
  std::mt19937_64 random_;
  const world_options options_;
  uint64_t fault_share_ = 0;
  std::set<std::string, std::less<>> faults_;
  bool partner_dies_ = false, partner_died_ = false, is_calm_ = false;
  actor_world world_;
  caf::actor keeper_;
  stream_id compute_ = 0;
  std::vector<stream> streams_;
  std::vector<user> users_;
  std::vector<inquiry_ptr<stream_resized>> changes_;
  uint64_t highest_budget_bytes_ = 0, last_bytes_ = 0;
  bool has_scratch_ = false;
  uint64_t served_ = 0, refused_ = 0;
};

}  // namespace longshore
