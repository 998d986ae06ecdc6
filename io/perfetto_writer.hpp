#pragma once
/// Turns trace records into a file that Perfetto opens (ui.perfetto.dev, trace_processor): protobuf TrackEvents.
///
/// What a person sees: a track an actor with a slice a message, arrows from the span that sent it to the span that
/// handled it; lanes for disk operations, since they overlap; the waits of each load; counters, in bytes where their
/// name ends in "bytes". Slices carry who sent them, how long they were queued, and their bytes.
/// Owns the file: PATH.part while it grows, PATH once `finish` succeeded, nothing at all otherwise.
/// Limits: `perfetto_limits`; memory does not grow with the length of the trace. The same records make the same file.
/// Threads: one caller at a time.
/// Failure: the first write that fails is kept, later records go nowhere, and flush and finish give it as io_failed
/// with the path.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "cache/error.hpp"
#include "io/trace_ring.hpp"

namespace longshore {

struct perfetto_limits {
  size_t buffer_bytes = 1 << 20;      ///< encoded bytes held before a write
  size_t batch_records = 1 << 16;     ///< records held to be put in order before they are encoded
  size_t max_track_groups = 1 << 14;  ///< actors, loads and counters with tracks of their own; the rest share one each
};

class perfetto_writer {
public:
  /// `names` must outlive the writer.
  static expected<perfetto_writer> open(std::string path, const trace_names& names, perfetto_limits limits = {});

  perfetto_writer(perfetto_writer&&) noexcept;
  perfetto_writer& operator=(perfetto_writer&&) noexcept;
  ~perfetto_writer();

  void add(const trace_record& record, trace_name_id thread);

  /// Says in the trace itself that `count` records are missing from it.
  void note_dropped(uint64_t count, uint64_t at_ns);

  /// Encodes what was added. Best called after each drain: records in one batch share lanes the tightest.
  expected<void> flush();

  /// Everything on disk under its final name. Afterwards the writer is done with.
  expected<void> finish();

private:
  class encoder;
  explicit perfetto_writer(std::unique_ptr<encoder> made);
  std::unique_ptr<encoder> encoder_;
};

}  // namespace longshore
