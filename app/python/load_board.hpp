#pragma once
/// The loads that Python has begun, what became of them, and what Python's own thread shall hear of.
///
/// Owns what each load says last and the events that nobody has fetched. Actors write, Python's threads read, so that
/// no actor ever waits for the interpreter. Thread rule: everything from any thread; waits take no interpreter's lock.
/// Limits: an event of each kind a load at most, and one an object that went; the registry bounds both.
/// Failure: none of its own.

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "actors/runtime.hpp"

namespace longshore::python {

using shared_lease = std::shared_ptr<const model_lease>;

struct loaded {
  shared_lease lease;
  bool hit = false;
};

/// How far a load is: bytes of all its files, and what the slowest of them waits for.
struct load_state {
  uint64_t done_bytes = 0;
  uint64_t total_bytes = 0;
  load_stage stage = load_stage::opening;
};

enum class event_kind : uint8_t {
  answered,    ///< of a load
  progressed,  ///< of a load
  dropped,     ///< of an object: the cache holds it no longer
};

struct event {
  event_kind kind{};
  uint64_t number = 0;
};

/// One load. Shared between who began it and the actor that answers.
class pending_load {
public:
  pending_load(uint64_t number, const std::vector<file_source>& files);

  uint64_t number() const { return number_; }

  /// Whether it was answered within the time.
  bool wait_for(std::chrono::milliseconds time);
  /// Once it was answered.
  const expected<loaded>& result() const { return *result_; }
  load_state state() const;

  void answer(expected<loaded> result);
  /// Whether the news is of one of its files.
  bool note(const load_progress& news);

  /// Who can cancel it: set once, before anyone else knows of the load.
  load_handle handle;
  /// What progress already stands among the events: of the board, under its lock.
  bool progress_is_queued = false;

private:
  struct file_part {
    uint64_t total_bytes;
    uint64_t done_bytes = 0;
    load_stage stage = load_stage::opening;
  };

  const uint64_t number_;
  mutable std::mutex mutex_;
  std::condition_variable answered_;
  std::map<std::string, file_part> parts_;  // by path
  std::optional<expected<loaded>> result_;
};

class load_board {
public:
  /// `tells`: its answer and its progress become events.
  std::shared_ptr<pending_load> add(const std::vector<file_source>& files, bool tells);
  void answer(pending_load& load, expected<loaded> result);
  void note(const load_progress& news);

  /// The latest news of every file that is being loaded, by whomever.
  std::vector<load_progress> under_way() const;

  void put(event what);
  /// What has happened since the last call, or within the time; nothing at all once it is closed and empty.
  std::optional<std::vector<event>> next_events(std::chrono::milliseconds time);
  void close();

private:
  struct known_load {
    std::shared_ptr<pending_load> load;
    bool tells;
  };

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, known_load> loads_;        // those that were not answered
  std::map<file_id, load_progress> under_way_;  // by file
  std::vector<event> events_;
  uint64_t next_number_ = 1;
  bool closed_ = false;
};

}  // namespace longshore::python
