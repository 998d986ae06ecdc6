#include "actors/file_load.hpp"

#include <algorithm>
#include <utility>

#include <caf/send.hpp>

#include "actors/file_opener.hpp"
#include "io/page_cache.hpp"
#include "io/trace_ring.hpp"

namespace longshore {

void begin_load(caf::event_based_actor* self, file_load& load, const caf::actor& registry, const start_load& order,
                const holder_services& services) {
  load.registry = registry;
  load.services = services;
  load.file = order.file;
  load.source = order.source;
  load.urgent = order.urgent;
  load.report.path = order.source.path;
  auto& names = tracer_rings::process().names();
  const auto file_name = order.source.path.substr(order.source.path.rfind('/') + 1);
  names.name_subject(trace_subject::actor, static_cast<uint32_t>(self->id()),
                     std::string{self->name()} + " " + file_name);
  names.name_subject(trace_subject::load, static_cast<uint32_t>(order.file), file_name);
  names.name_subject(trace_subject::file, static_cast<uint32_t>(order.file), file_name);
  self->monitor(registry);
  self->monitor(services.reader);
  report_progress(self, load, load_stage::opening);
  spawn_file_opener(self, load.source, services.options.open_on_own_thread);
}

void report_progress(caf::event_based_actor* self, const file_load& load, load_stage stage) {
  if (load.services.listener)
    self->send(load.services.listener,
               load_progress{load.file, load.source.path, stage, load.done_bytes, load.source.identity.size_bytes});
}

std::optional<error> take_opened(file_load& load, const open_result& result) {
  load.opening = false;
  if (!result.file)
    return result.reason;
  load.opened = result.file;
  load.opened_ns = trace_now_ns();
  return std::nullopt;
}

error partner_lost(const file_load& load) {
  return {.code = errc::stopped, .what = "a partner of the load ended before the load did", .path = load.source.path};
}

std::optional<error> opener_lost(file_load& load) {
  if (!std::exchange(load.opening, false))
    return std::nullopt;
  return error{.code = errc::out_of_budget, .what = "there was no memory for the header", .path = load.source.path};
}

plan_options planning(const holder_options& options, bool is_cast, uint64_t block_bytes) {
  const uint64_t overlap_bytes = is_cast ? std::max<uint64_t>(4096, block_bytes) : 0;  // an element is far less
  return {.chunk_bytes = options.chunk_bytes - overlap_bytes,                          // so that it still fits a slot
          .mode = options.page_cache,
          .leave_in_cache = options.leave_in_cache,
          .overlap_bytes = overlap_bytes};
}

plan_options planning(const file_load& load) {
  return planning(load.services.options, !load.source.cast_to.empty(), load.opened->file.direct_alignment_bytes());
}

void end_wait(file_load& load) {
  load.report.waited_for_memory_ns = trace_now_ns() - load.opened_ns;
  if (!tracer_rings::enabled())
    return;
  trace_record record;
  record.kind = trace_kind::wait;
  record.start_ns = load.opened_ns;
  record.duration_ns = load.report.waited_for_memory_ns;
  record.span = next_span();
  record.cause = current_span;
  record.value = load.source.identity.size_bytes;
  record.subject = static_cast<uint32_t>(load.file);
  record.name = tracer_rings::process().names().intern("waits for memory");
  tracer_rings::process().put(record);
}

void count_read(file_load& load, const chunk_read& done) {
  const auto& c = load.plan[done.index];
  auto& counter = done.via == read_path::direct     ? load.report.direct_bytes
                  : done.via == read_path::buffered ? load.report.buffered_bytes
                                                    : load.report.mapped_bytes;
  counter += c.length_bytes;
  if (done.via == read_path::buffered && !c.was_resident && !load.services.options.leave_in_cache)
    drop_from_page_cache(load.opened->file.fd(), c.offset_bytes, c.length_bytes);
}

void count_all(file_load& load) {
  load.done_bytes = load.source.identity.size_bytes;
  load.report.mapped_bytes = load.done_bytes - load.opened->header->data_begin_bytes;
}

void count_done(caf::event_based_actor* self, file_load& load, uint32_t index) {
  load.done_bytes += load.plan[index].own_bytes();
  if (load.done_bytes - load.reported_bytes > load.source.identity.size_bytes / 100) {
    load.reported_bytes = load.done_bytes;
    report_progress(self, load, load_stage::reading);
  }
}

read_chunk reading(const opened_file& opened, const chunk& what) {
  return {.what = what,
          .fd = opened.file.fd(),
          .direct_fd = opened.file.direct_fd(),
          .alignment_bytes = opened.file.direct_alignment_bytes()};
}

void send_read(caf::event_based_actor* self, const file_load& load, uint32_t index, std::byte* destination,
               std::shared_ptr<const void> memory) {
  auto order = reading(*load.opened, load.plan[index]);
  order.load = load.file;
  order.index = index;
  order.urgent = load.urgent;
  order.destination = destination;
  order.memory = std::move(memory);
  self->send(load.services.reader, std::move(order));
}

error reason_of(const opened_file& opened, const std::string& path, const chunk_failed& lost) {
  if (auto same = opened.file.check_unchanged(); !same) {
    auto reason = same.error();
    reason.offset_bytes = lost.offset_bytes;
    return reason;
  }
  return {.code = lost.os_error == 0 ? errc::changed_on_disk : errc::io_failed,
          .what = lost.os_error == 0 ? "the file became shorter while it loaded" : "the disk could not read the file",
          .path = path,
          .offset_bytes = lost.offset_bytes,
          .os_error = lost.os_error};
}

void say_ended(caf::event_based_actor* self, const file_load& load) {
  report_progress(self, load, load_stage::failed);
  if (load.dropping)
    self->send(load.registry, file_dropped{load.file});
  else
    self->send(load.registry, file_failed{load.file, load.failure});
  self->quit();
}

}  // namespace longshore
