#include "app/simulate/simulation_trace.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "io/perfetto_writer.hpp"

namespace longshore {
namespace {

class record_list {
public:
  explicit record_list(trace_names& names) : names_(names) {}

  /// A slice on a track of its own name.
  void add_span(trace_kind kind, std::string_view what, uint32_t subject, const simulated_span& when, uint64_t bytes) {
    trace_record record;
    record.kind = kind;
    record.name = names_.intern(what);
    record.subject = subject;
    record.start_ns = static_cast<uint64_t>(when.begin.count());
    record.duration_ns = static_cast<uint64_t>((when.end - when.begin).count());
    record.value = bytes;
    record.span = records_.size() + 1;
    records_.push_back(record);
  }

  void add_counter(std::string_view name, std::chrono::nanoseconds at, uint64_t value) {
    add_span(trace_kind::counter, name, 0, {at, at}, value);
  }

  /// In the order in which things began, which keeps the tracks few.
  std::vector<trace_record> take() {
    std::ranges::sort(records_, {}, [](const auto& record) { return std::pair{record.start_ns, record.span}; });
    return std::move(records_);
  }

private:
  trace_names& names_;
  std::vector<trace_record> records_;
};

void add_history(record_list& records, const model_history& history, uint32_t subject, std::chrono::nanoseconds end) {
  for (size_t i = 0; i < history.changes.size(); ++i) {
    const auto& [at, state] = history.changes[i];
    const auto until = i + 1 < history.changes.size() ? history.changes[i + 1].at : end;
    if (state != model_state::absent)
      records.add_span(trace_kind::wait, name(state), subject, {at, until}, 0);
  }
}

std::vector<trace_record> records_of(const scenario& what, const simulation_result& result, trace_names& names) {
  record_list records{names};
  uint32_t subject = 0;
  for (const auto& history : result.histories) {
    names.name_subject(trace_subject::load, ++subject, what.models[history.model].name + " " + name(history.hold));
    add_history(records, history, subject, result.end);
  }
  names.name_subject(trace_subject::load, ++subject, "link");
  for (const auto& upload : result.uploads)
    records.add_span(trace_kind::wait, "copy", subject, upload.when, upload.bytes);
  for (const auto& read : result.reads)
    records.add_span(trace_kind::disk_op, "read", 0, read.when, read.bytes);
  for (const auto& [at, memory] : result.memory) {
    records.add_counter("host bytes", at, memory.host_bytes);
    records.add_counter("staging bytes", at, memory.staging_bytes);
    records.add_counter("page-locked bytes", at, memory.pinned_bytes);
    records.add_counter("device bytes", at, memory.device_bytes);
  }
  return records.take();
}

}  // namespace

expected<void> write_simulation_trace(const scenario& what, const simulation_result& result, const std::string& path) {
  trace_names names;
  auto writer = perfetto_writer::open(path, names);
  if (!writer)
    return unexpected(writer.error());
  const auto thread = names.intern("simulation");
  for (const auto& record : records_of(what, result, names))
    writer->add(record, thread);
  return writer->finish();
}

}  // namespace longshore
