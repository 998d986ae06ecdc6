#include "io/trace_ring.hpp"

#include <algorithm>
#include <bit>

#include <pthread.h>

namespace longshore {
namespace {

constinit std::atomic<uint64_t> next_span_block{0};
constexpr uint64_t spans_per_block = 1024;

// Plain pointers beside the owner below: reading them needs no check whether they were constructed.
constinit thread_local trace_ring* my_ring = nullptr;
constinit thread_local bool my_ring_ended = false;
constinit thread_local trace_name_id my_thread_name = 0;

/// Tells the ring when its thread ends. The ring itself stays with tracer_rings.
struct ring_ender {
  ~ring_ender() {
    my_ring->end();
    my_ring = nullptr;
    my_ring_ended = true;
  }
};

uint64_t subject_key(trace_subject what, uint32_t id) { return uint64_t{static_cast<uint8_t>(what)} << 32 | id; }

std::string system_thread_name() {
  char name[16] = "";  // the kernel's limit
  pthread_getname_np(pthread_self(), name, sizeof name);
  return name;
}

}  // namespace

trace_span_id next_span() {
  constinit thread_local trace_span_id next = 0;
  if (next % spans_per_block == 0)
    next = next_span_block.fetch_add(1, std::memory_order_relaxed) * spans_per_block + 1;
  return next++;
}

trace_names::trace_names(size_t max_names, size_t max_subjects)
    : max_names_{std::min<size_t>(max_names, UINT16_MAX)}, max_subjects_{max_subjects} {
  texts_.emplace_back("(other)");
}

trace_name_id trace_names::intern(std::string_view text) {
  std::lock_guard lock{mutex_};
  if (auto known = ids_.find(text); known != ids_.end())
    return known->second;
  if (ids_.size() >= max_names_)
    return 0;
  const auto id = static_cast<trace_name_id>(texts_.size());
  texts_.emplace_back(text);
  ids_.emplace(text, id);
  return id;
}

std::string_view trace_names::text(trace_name_id id) const {
  std::lock_guard lock{mutex_};
  return texts_[id < texts_.size() ? id : 0];
}

void trace_names::name_subject(trace_subject what, uint32_t id, std::string_view name) {
  std::lock_guard lock{mutex_};
  const auto key = subject_key(what, id);
  if (subjects_.size() < max_subjects_ || subjects_.contains(key))
    subjects_.insert_or_assign(key, std::string{name});
}

std::string trace_names::subject_name(trace_subject what, uint32_t id) const {
  const std::string sort = what == trace_subject::actor ? "actor" : what == trace_subject::load ? "load" : "file";
  if (id == 0)
    return "other " + sort + "s";
  std::lock_guard lock{mutex_};
  const auto named = subjects_.find(subject_key(what, id));
  return named != subjects_.end() ? named->second : sort + " " + std::to_string(id);
}

trace_ring::trace_ring(size_t records, trace_name_id thread_name)
    : mask_{std::bit_ceil(std::max<size_t>(records, 1)) - 1},
      // Not zeroed: a thread that records little then takes little memory.
      records_{std::make_unique_for_overwrite<trace_record[]>(mask_ + 1)},
      thread_name_{thread_name} {}

bool trace_ring::put(const trace_record& record) {
  const auto at = head_.load(std::memory_order_relaxed);
  if (at - tail_seen_ > mask_) {
    tail_seen_ = tail_.load(std::memory_order_acquire);
    if (at - tail_seen_ > mask_) {
      dropped_.fetch_add(1, std::memory_order_relaxed);
      return false;
    }
  }
  records_[at & mask_] = record;
  head_.store(at + 1, std::memory_order_release);
  return true;
}

tracer_rings& tracer_rings::process() {
  static auto* rings = new tracer_rings;  // never destroyed: threads may still end after main's statics are gone
  return *rings;
}

void tracer_rings::enable(trace_limits limits) {
  std::lock_guard lock{rings_mutex_};
  limits_ = limits;
  rings_full_.store(false, std::memory_order_relaxed);
  enabled_.store(true, std::memory_order_relaxed);
}

void tracer_rings::put(const trace_record& record) {
  if (!enabled())
    return;
  if (!my_ring && !(my_ring = make_ring()))
    ringless_.fetch_add(1, std::memory_order_relaxed);
  else
    my_ring->put(record);
}

trace_ring* tracer_rings::make_ring() {
  // A thread without a ring asks on each record, so the answer "none left" must not take the lock.
  if (my_ring_ended || rings_full_.load(std::memory_order_relaxed))
    return nullptr;
  std::lock_guard lock{rings_mutex_};
  auto place = std::find(rings_.begin(), rings_.end(), nullptr);
  if (place == rings_.end()) {
    if (rings_.size() >= limits_.max_rings) {
      rings_full_.store(true, std::memory_order_relaxed);
      return nullptr;
    }
    place = rings_.emplace(rings_.end());
  }
  if (my_thread_name == 0)
    my_thread_name = names_.intern(system_thread_name() + " #" + std::to_string(place - rings_.begin() + 1));
  *place = std::make_unique<trace_ring>(limits_.ring_records, my_thread_name);
  static thread_local ring_ender ender;
  return place->get();
}

size_t tracer_rings::drain(const std::function<void(const trace_record&, trace_name_id)>& sink, uint64_t until_ns) {
  std::lock_guard one_at_a_time{drain_mutex_};
  std::vector<trace_ring*> rings;
  {
    std::lock_guard lock{rings_mutex_};
    for (const auto& ring : rings_)
      if (ring)
        rings.push_back(ring.get());
  }
  size_t taken = 0;  // outside the lock: only a drainer frees rings, and it is the only one
  for (auto* ring : rings)
    taken += ring->take(until_ns, [&](const trace_record& record) { sink(record, ring->thread_name()); });
  release_drained(rings);
  return taken;
}

void tracer_rings::release_drained(const std::vector<trace_ring*>& seen) {
  std::lock_guard lock{rings_mutex_};
  for (auto* ring : seen) {
    if (!ring->ended() || !ring->empty())
      continue;
    dropped_by_ended_ += ring->dropped();
    std::find_if(rings_.begin(), rings_.end(), [&](const auto& owned) { return owned.get() == ring; })->reset();
    rings_full_.store(false, std::memory_order_relaxed);
  }
}

uint64_t tracer_rings::dropped() const {
  std::lock_guard lock{rings_mutex_};
  auto sum = dropped_by_ended_ + ringless_.load(std::memory_order_relaxed);
  for (const auto& ring : rings_)
    sum += ring ? ring->dropped() : 0;
  return sum;
}

void trace_counter(std::string_view name, uint64_t value) {
  auto& rings = tracer_rings::process();
  if (!tracer_rings::enabled())
    return;
  trace_record record;
  record.kind = trace_kind::counter;
  record.start_ns = trace_now_ns();
  record.value = value;
  record.name = rings.names().intern(name);
  rings.put(record);
}

void tracer_rings::name_thread(std::string_view name) {
  my_thread_name = names_.intern(name);
  if (my_ring)
    my_ring->set_thread_name(my_thread_name);
}

}  // namespace longshore
