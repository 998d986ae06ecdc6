#pragma once
/// The flight recorder: each thread leaves fixed 64-byte records in a ring of its own, one drainer takes them out.
///
/// Owns the rings, the names that records refer to by number, and the names of what they are about. Recording never
/// blocks and never allocates once the thread has its ring; turning records into a trace file happens afterwards.
/// Limits: `trace_limits`. A record that finds its ring full, or no ring to be had, is dropped and counted.
/// Threads: `put`, `next_span` and `current_span` belong to the calling thread; `drain` lets one caller in at a time;
/// names may be registered anywhere, under a lock. The rings of ended threads stay until they are drained.
/// Failure: none. What does not fit is counted (`dropped`) or goes by a common name.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <vector>

namespace longshore {

using trace_span_id = uint64_t;  ///< 0 is no span
using trace_name_id = uint16_t;  ///< 0 is the name of all that found the table full

enum class trace_kind : uint8_t { message = 1, disk_op, copy, compute, wait, counter, instant };

/// What the `subject` of a record is a number of.
enum class trace_subject : uint8_t { actor = 1, load, file };

/// One thing that happened. What `value`, `detail` and `subject` say depends on `kind`.
struct trace_record {
  uint64_t start_ns = 0;     ///< by trace_now_ns
  uint64_t duration_ns = 0;  ///< 0 for counters and instants
  uint64_t waited_ns = 0;    ///< queued before start_ns: a message in its mailbox, an operation before it was submitted
  trace_span_id span = 0;    ///< this record's own
  trace_span_id cause = 0;   ///< the span that sent the message or asked for the operation
  uint64_t value = 0;        ///< counter: its value; else the bytes it names, moved or waits for
  uint64_t detail = 0;       ///< message: the actor that sent it; disk_op: the offset in the file, in bytes
  uint32_t subject = 0;      ///< message, instant: actor; disk_op, copy: file; wait, compute: load; 0: none is known
  trace_name_id name = 0;    ///< from trace_names::intern
  trace_kind kind = trace_kind::instant;
  uint8_t os_error = 0;  ///< errno, or 0; Linux has none above 133
};
static_assert(sizeof(trace_record) == 64 && std::is_trivially_copyable_v<trace_record>);

inline uint64_t trace_now_ns() {
  using namespace std::chrono;
  return static_cast<uint64_t>(duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count());
}

/// The span that the calling thread works for: what it sends has this as its cause.
inline constinit thread_local trace_span_id current_span = 0;

/// A number no other span of this process has. Threads take numbers in blocks, so numbers say nothing about order.
trace_span_id next_span();

/// Texts for the numbers in records. Safe from any thread; a lock is taken, so intern once and keep the number.
class trace_names {
public:
  explicit trace_names(size_t max_names = 1 << 15, size_t max_subjects = 1 << 16);

  /// The same number for the same text; 0 when `max_names` are taken.
  trace_name_id intern(std::string_view text);

  /// Valid as long as this object; "(other)" for a number that was never given out.
  std::string_view text(trace_name_id id) const;

  /// The name a person knows an actor, load or file by; naming it again renames it, past `max_subjects` it is ignored.
  void name_subject(trace_subject what, uint32_t id, std::string_view name);

  /// What it was named, else its sort and number, for example "actor 17"; 0 is "other actors".
  std::string subject_name(trace_subject what, uint32_t id) const;

private:
  mutable std::mutex mutex_;
  std::map<std::string, trace_name_id, std::less<>> ids_;
  std::deque<std::string> texts_;  // a deque, since texts are handed out as views
  std::unordered_map<uint64_t, std::string> subjects_;
  size_t max_names_;
  size_t max_subjects_;
};

/// A queue of records between one thread that puts and one that takes, bounded when it is made.
class trace_ring {
public:
  /// `records` is rounded up to a power of two.
  trace_ring(size_t records, trace_name_id thread_name);

  /// The owning thread only. False, and one more dropped, when the ring is full.
  bool put(const trace_record& record);

  /// The drainer only: takes records in the order they were put, up to the first that ended after `until_ns`.
  template <class Sink>
  size_t take(uint64_t until_ns, Sink&& sink);

  bool empty() const { return head_.load(std::memory_order_acquire) == tail_.load(std::memory_order_relaxed); }
  size_t capacity() const { return mask_ + 1; }
  uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

  void set_thread_name(trace_name_id name) { thread_name_.store(name, std::memory_order_relaxed); }
  trace_name_id thread_name() const { return thread_name_.load(std::memory_order_relaxed); }

  /// The owning thread's last word: nothing will be put any more.
  void end() { ended_.store(true, std::memory_order_release); }
  bool ended() const { return ended_.load(std::memory_order_acquire); }

private:
  const size_t mask_;
  const std::unique_ptr<trace_record[]> records_;
  // Two cache lines: what the owner writes on each put, and what the drainer writes.
  alignas(64) std::atomic<uint64_t> head_{0};
  uint64_t tail_seen_ = 0;  // the owner's last look at tail_, so that most puts touch no line of the drainer's
  std::atomic<uint64_t> dropped_{0};
  std::atomic<trace_name_id> thread_name_;
  std::atomic<bool> ended_{false};
  alignas(64) std::atomic<uint64_t> tail_{0};
};

struct trace_limits {
  size_t ring_records = 1 << 14;  ///< a thread: 1 MiB of addresses, of which only what is used becomes memory
  size_t max_rings = 256;         ///< threads that record at once, ended ones that nobody drained included
};

/// All rings of the process. One, because a thread finds its ring without being told where.
class tracer_rings {
public:
  static tracer_rings& process();

  /// The limits hold for rings made from now on; threads that have one keep it.
  void enable(trace_limits limits = {});
  void disable() { enabled_.store(false, std::memory_order_relaxed); }

  /// Ask this before reading clocks: a disabled recorder shall cost one load.
  static bool enabled() { return enabled_.load(std::memory_order_relaxed); }

  /// Leaves a record in the calling thread's ring; nothing when disabled.
  void put(const trace_record& record);

  /// Takes records out, ring by ring, each with the name of its thread, and returns how many. What ended after
  /// `until_ns` stays for the next time: then whatever happened before a drained record is drained with it or was
  /// before.
  size_t drain(const std::function<void(const trace_record&, trace_name_id thread)>& sink,
               uint64_t until_ns = trace_now_ns());

  /// Records lost since the process began.
  uint64_t dropped() const;

  /// What the calling thread is called in traces; without this, what the system calls it.
  void name_thread(std::string_view name);

  trace_names& names() { return names_; }

private:
  tracer_rings() = default;
  trace_ring* make_ring();
  void release_drained(const std::vector<trace_ring*>& seen);

  inline static constinit std::atomic<bool> enabled_{false};
  trace_names names_;
  std::mutex drain_mutex_;
  mutable std::mutex rings_mutex_;
  trace_limits limits_;
  std::vector<std::unique_ptr<trace_ring>> rings_;  // empty places are taken again, so numbers of threads stay small
  uint64_t dropped_by_ended_ = 0;
  std::atomic<uint64_t> ringless_{0};  // records of threads that got no ring
  std::atomic<bool> rings_full_{false};
};

/// A counter's value now, under a name that is interned at each call: for what changes seldom. Nothing when disabled.
void trace_counter(std::string_view name, uint64_t value);

template <class Sink>
size_t trace_ring::take(uint64_t until_ns, Sink&& sink) {
  const auto begin = tail_.load(std::memory_order_relaxed);
  const auto end = head_.load(std::memory_order_acquire);
  auto at = begin;
  for (; at != end; ++at) {
    const auto record = records_[at & mask_];
    if (record.start_ns + record.duration_ns > until_ns)
      break;
    tail_.store(at + 1, std::memory_order_release);  // the place is free before a slow sink begins its work
    sink(record);
  }
  return at - begin;
}

}  // namespace longshore
