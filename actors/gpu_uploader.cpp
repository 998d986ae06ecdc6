#include "actors/gpu_uploader.hpp"

#include <cassert>
#include <new>
#include <optional>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include <caf/actor_system.hpp>
#include <caf/send.hpp>

#include "actors/traced_actor.hpp"
#include "gpu/device_file.hpp"
#include "messages/upload.hpp"

namespace longshore {
namespace {

/// A chunk whose copies are queued, and whom to tell. What the copies use is kept by their completion.
struct job {
  caf::actor holder;
  uint64_t load = 0;
  uint32_t index = 0;
  uint64_t bytes = 0;
  uint64_t queued_ns = 0;
  trace_span_id cause = 0;
};

/// A stream and the scratch memory that its packed runs pass through, one after the other.
struct lane {
  stream_id stream = 0;
  device_address scratch = 0;  // 0 until a run needs it
};

/// What copies use of which nobody said when they are over, since the device refused to. The next completion of their
/// stream says it for them; the uploader asks for one of its own until it gets it.
struct used_by_copies {
  std::shared_ptr<const void> memory, target;
};

struct uploader_state {
  static constexpr const char* name = "gpu_uploader";
  gpu_uploader_options options;
  std::shared_ptr<device> target;
  std::optional<lane> used;
  std::vector<used_by_copies> unsettled;
  std::unordered_map<uint64_t, job> jobs;  // by tag
  uint64_t next_tag = 1;

  uploader_state() = default;
  uploader_state(const uploader_state&) = delete;
  uploader_state& operator=(const uploader_state&) = delete;
  /// Waits for copies that a stopped runtime left under way: what they use must not end on the device's own thread.
  ~uploader_state() {
    if (!used)
      return;
    const bool copies_run = !jobs.empty() || !unsettled.empty();
    if (copies_run && !let_end(*target, used->stream))
      std::ignore =
          new (std::nothrow) auto(std::move(unsettled));  // for ever: the device may use it as long as there is one
    else if (used->scratch != 0)
      target->free(used->scratch);
    target->destroy_stream(used->stream);
  }
};

using uploader_actor = traced_actor<uploader_state>;

/// The lane, when it is first needed: a device that refuses fails the chunk, not the actor.
expected<lane> prepare(uploader_state& state, bool with_scratch) {
  if (!state.used) {
    const auto made = state.target->make_stream();
    if (!made)
      return unexpected(made.error());
    state.used = lane{.stream = *made};
  }
  if (with_scratch && state.used->scratch == 0) {
    const auto made = state.target->allocate(state.options.scratch_bytes);
    if (!made)
      return unexpected(made.error());
    state.used->scratch = *made;
  }
  return *state.used;
}

expected<void> queue_copies(uploader_state& state, const lane& on, const upload_chunk& chunk) {
  auto& target = *state.target;
  for (const auto& last_use : chunk.order.after)
    if (auto waits = target.wait_event(on.stream, last_use->id()); !waits)
      return waits;
  for (const auto& copy : chunk.plan.direct)
    if (auto queued = target.copy_to_device(on.stream, chunk.source + copy.chunk_offset_bytes, copy.destination,
                                            copy.length_bytes);
        !queued)
      return queued;
  for (const auto& run : chunk.plan.packed) {
    assert(run.length_bytes <= state.options.scratch_bytes);
    if (auto queued =
            target.copy_to_device(on.stream, chunk.source + run.chunk_offset_bytes, on.scratch, run.length_bytes);
        !queued)
      return queued;
    if (!run.pieces.empty())
      if (auto queued = target.scatter(on.stream, on.scratch, run.pieces); !queued)
        return queued;
    for (const auto& cast : run.casts)
      if (auto queued = target.cast(on.stream, {.source = on.scratch + cast.source_offset_bytes,
                                                .from = cast.from,
                                                .destination = cast.destination,
                                                .to = cast.to,
                                                .elements = cast.elements});
          !queued)
        return queued;
  }
  return {};
}

/// From the first copy's place in the queue to the end of the last.
void record_copy(const job& done) {
  if (!tracer_rings::enabled() || done.queued_ns == 0)
    return;
  static const auto name = tracer_rings::process().names().intern("copy to the device");
  trace_record record;
  record.kind = trace_kind::copy;
  record.start_ns = done.queued_ns;
  record.duration_ns = trace_now_ns() - done.queued_ns;
  record.span = next_span();
  record.cause = done.cause;
  record.value = done.bytes;
  record.subject = static_cast<uint32_t>(done.load);
  record.name = name;
  tracer_rings::process().put(record);
}

void settle(uploader_actor* self, uint64_t tag, const error& reason) {
  const auto done = std::move(self->state.jobs.extract(tag).mapped());
  record_copy(done);
  if (reason.code == errc{})
    self->send(done.holder, chunk_uploaded{done.load, done.index});
  else
    self->send(done.holder, upload_failed{done.load, done.index, reason});
}

/// Also behind copies of which some could not be queued: those that could still use the memory.
expected<void> queue_completion(uploader_actor* self, const lane& on, uint64_t tag, const upload_chunk& chunk,
                                const expected<void>& queued) {
  const caf::weak_actor_ptr inbox{self->ctrl()};
  return self->state.target->when_over(on.stream, [inbox, tag, queued, memory = chunk.memory, target = chunk.target,
                                                   earlier = self->state.unsettled](const auto& ran) mutable {
    earlier.clear();
    memory.reset();  // before the uploader hears of it: what its holder then frees must be free
    target.reset();
    const auto& failed = queued ? ran : queued;
    if (auto uploader = caf::actor_cast<caf::actor>(inbox))
      caf::anon_send(uploader, upload_over{tag, failed ? error{} : failed.error()});
  });
}

/// Where the mark cannot be made, those who wait for it hear of the chunk's end instead.
void tell_queued(uploader_actor* self, const lane& on, const upload_chunk& chunk) {
  auto& state = self->state;
  if (auto behind = device_event::record(state.target, on.stream))
    self->send(caf::actor_cast<caf::actor>(self->current_sender()),
               chunk_queued{chunk.load, chunk.index, std::move(*behind)});
}

void settle_later(uploader_actor* self) {
  if (self->state.unsettled.size() == 1)
    self->delayed_send(self, self->state.options.settle_after, settle_copies{});
}

void settle_copies_now(uploader_actor* self) {
  auto& state = self->state;
  if (state.unsettled.empty())
    return;
  const auto told = state.target->when_over(state.used->stream,
                                            [earlier = state.unsettled](const auto&) mutable { earlier.clear(); });
  if (told)
    state.unsettled.clear();
  else
    self->delayed_send(self, state.options.settle_after, settle_copies{});
}

void upload(uploader_actor* self, const upload_chunk& chunk) {
  auto& state = self->state;
  const auto tag = state.next_tag++;
  state.jobs.emplace(tag, job{.holder = caf::actor_cast<caf::actor>(self->current_sender()),
                              .load = chunk.load,
                              .index = chunk.index,
                              .bytes = chunk.plan.bytes(),
                              .queued_ns = tracer_rings::enabled() ? trace_now_ns() : 0,
                              .cause = current_span});
  const auto on = prepare(state, !chunk.plan.packed.empty());
  if (!on)
    return settle(self, tag, on.error());
  const auto queued = queue_copies(state, *on, chunk);
  if (queued && chunk.order.mark)
    tell_queued(self, *on, chunk);
  if (auto told = queue_completion(self, *on, tag, chunk, queued); told) {
    state.unsettled.clear();
  } else {
    state.unsettled.push_back({chunk.memory, chunk.target});
    settle_later(self);
    settle(self, tag, told.error());
  }
}

caf::behavior uploader_behavior(uploader_actor* self, std::shared_ptr<device> target, gpu_uploader_options options) {
  self->state.target = std::move(target);
  self->state.options = options;
  return {
      [=](const upload_chunk& chunk) { upload(self, chunk); },
      [=](const upload_over& over) { settle(self, over.tag, over.reason); },
      [=](settle_copies) { settle_copies_now(self); },
  };
}

}  // namespace

caf::actor spawn_gpu_uploader(caf::actor_system& system, std::shared_ptr<device> target, gpu_uploader_options options) {
  return system.spawn(uploader_behavior, std::move(target), options);
}

}  // namespace longshore
