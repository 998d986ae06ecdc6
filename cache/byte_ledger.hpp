#pragma once
/// Who holds how many bytes of host memory, and who waits for some.
///
/// Owns the sums and the queue, not the memory. Pure: no clock, thread, I/O or CAF.
/// Limit: the bytes held, those on their way out included, never exceed `limit_bytes`; this is asserted.
/// Order: first come, first served, and only the head of the queue is ever granted. Were a small reservation let past a
/// large one, a steady stream of small ones could keep the large one waiting for ever.
/// Failure: none; to queue a file twice or to grant what does not fit is a bug and asserts. To release what holds
/// nothing is no error: a mapped file has no bytes here.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <unordered_map>

namespace longshore {

class byte_ledger {
public:
  struct reservation {
    uint64_t file;
    uint64_t bytes;
  };

  explicit byte_ledger(uint64_t limit_bytes) : limit_bytes_(limit_bytes) {}

  /// Queues a file that wants `bytes`, at most the limit and not 0.
  void enqueue(uint64_t file, uint64_t bytes);

  /// The head of the queue; null when nobody waits. Valid until the queue changes.
  const reservation* next() const { return queue_.empty() ? nullptr : &queue_.front(); }

  /// True when the head can have its bytes now.
  bool next_fits() const;

  /// What the head lacks even after everything on its way out is gone; 0 when it need only wait for that.
  uint64_t shortfall_bytes() const;

  /// Gives the head its bytes, which must fit, and takes it off the queue.
  reservation grant_next();

  /// Says that a file's bytes, if it has any, are on their way out, and takes it off the queue. They count until
  /// `release`.
  void start_leaving(uint64_t file);

  /// The file's memory is free now.
  void release(uint64_t file);

  /// What the file holds or waits for; 0 when neither.
  uint64_t wanted_bytes(uint64_t file) const;

  /// What the file holds.
  uint64_t held_bytes(uint64_t file) const;

  uint64_t used_bytes() const { return used_bytes_; }
  uint64_t limit_bytes() const { return limit_bytes_; }
  size_t waiting() const { return queue_.size(); }

private:
  struct holding {
    uint64_t bytes;
    bool leaving;
  };

  void leave_queue(uint64_t file);

  uint64_t limit_bytes_;
  uint64_t used_bytes_ = 0;
  uint64_t leaving_bytes_ = 0;
  std::deque<reservation> queue_;
  std::unordered_map<uint64_t, holding> held_;
};

}  // namespace longshore
