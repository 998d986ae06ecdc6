#pragma once
/// A disk without bytes: a read completes when a disk of the set rate would have read it, and touches no memory.
///
/// Reads are served in the order in which they were submitted, one at a time; the latency of one passes beside the
/// transfer of others. Owns the reads in flight and the list of those that were served. One thread, that of the
/// simulation, which asks `next` when the disk has something to say and lets it be said with `run_until`. A read gives
/// what the file has there. No faults: every read succeeds.

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "app/simulate/simulated_time.hpp"
#include "io/read_engine.hpp"

namespace longshore {

class simulated_disk {
public:
  simulated_disk(uint64_t bytes_per_s, std::chrono::nanoseconds latency, simulated_clock now);

  /// The reader's end of this disk. One at a time; the disk outlives it.
  std::unique_ptr<read_engine> make_engine(completion_callback on_complete);

  std::optional<host_time> next() const;
  void run_until(host_time at);

  const std::vector<simulated_turn>& turns() const { return turns_; }
  uint64_t read_bytes() const { return read_bytes_; }

private:
  class engine;
  struct read {
    host_time end;
    read_completion result;
  };

  void submit(const read_request& request);
  void complete_first();

  simulated_clock now_;
  host_link head_;
  completion_callback on_complete_;
  std::deque<read> in_flight_;  // in the order of their ends
  std::vector<simulated_turn> turns_;
  uint64_t read_bytes_ = 0;
};

}  // namespace longshore
