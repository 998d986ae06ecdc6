#include "io/perfetto_writer.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include <protozero/pbf_writer.hpp>

#include "io/part_file.hpp"
#include "io/perfetto_fields.hpp"

namespace longshore {
namespace {

using namespace perfetto;

/// Interned once in the first packet: the number of each is its place here plus one.
constexpr std::string_view categories[] = {"message", "disk", "copy", "compute", "wait", "counter", "instant"};
static_assert(std::size(categories) == static_cast<size_t>(trace_kind::instant));
enum class note : uint64_t { bytes = 1, from, waited_us, thread, file, offset, error, count };
constexpr std::string_view note_names[] = {"bytes", "from", "waited_us", "thread", "file", "offset", "error", "count"};

/// The tracks that hold all others, in the order a reader wants them: who did what, which layers were computed with,
/// what was waited for, what the disk did.
enum class section : uint64_t { actors = 2, compute, waits, disk, counters, tracer };
constexpr std::string_view section_names[] = {"Actors", "Compute", "Waits", "Disk", "Counters", "Tracer"};
constexpr uint64_t root_uuid = 1;
constexpr uint64_t first_section_uuid = static_cast<uint64_t>(section::actors);

void add_entry(std::string& interned, field::interned_table table, uint64_t id, std::string_view text) {
  protozero::pbf_writer data{interned};
  protozero::pbf_writer entry{data, table};
  entry.add_uint64(field::iid, id);
  entry.add_string(field::entry_text, text.data(), text.size());
}

/// The name of the error as in the manual, "EIO"; a number where this libc knows no name.
std::string error_name(int os_error) {
  const auto* name = ::strerrorname_np(os_error);
  return name ? name : std::to_string(os_error);
}

}  // namespace

class perfetto_writer::encoder {
public:
  encoder(std::string path, const trace_names& names, perfetto_limits limits)
      : names_{names}, limits_{limits}, file_{std::move(path), limits.buffer_bytes} {
    write_preamble();
  }

  void add(const trace_record& record, trace_name_id thread) {
    batch_.push_back({record, thread});
    if (batch_.size() >= limits_.batch_records)
      encode_batch();
  }

  void note_dropped(uint64_t count, uint64_t at_ns) {
    const auto name = event_name_id("records dropped");
    auto event = begin_event(event_type::instant, static_cast<uint64_t>(section::tracer));
    event.add_uint64(field::name_iid, name);
    annotate(event, note::count, count);
    end_event(at_ns);
  }

  expected<void> flush() {
    encode_batch();
    return file_.write_out();
  }

  expected<void> finish() {
    encode_batch();
    return file_.commit();
  }

private:
  struct threaded_record {
    trace_record record;
    trace_name_id thread;
  };

  struct lane {
    uint64_t uuid;
    uint64_t free_at_ns;
  };

  struct track_group {
    section place;
    std::string name;
    bool numbered;  // whether the first lane bears a number too
    std::vector<lane> lanes;
  };

  // --- packets

  template <class Fill>
  void packet(Fill&& fill) {
    {
      protozero::pbf_writer trace{file_.buffer()};
      protozero::pbf_writer packet{trace, field::packet};
      packet.add_uint32(field::sequence_id, only_sequence);
      fill(packet);
    }
    file_.appended();
  }

  void write_preamble() {
    packet([](protozero::pbf_writer& packet) {
      // Alone in its snapshot: all times here are of one clock, so nothing is to be converted.
      protozero::pbf_writer snapshot{packet, field::clock_snapshot};
      snapshot.add_uint32(field::primary_trace_clock, monotonic_clock);
      protozero::pbf_writer clock{snapshot, field::clocks};
      clock.add_uint32(field::clock_id, monotonic_clock);
      clock.add_uint64(field::clock_timestamp, 1);
    });
    for (uint64_t i = 0; i < std::size(categories); ++i)
      add_entry(interned_, field::categories, i + 1, categories[i]);
    for (uint64_t i = 0; i < std::size(note_names); ++i)
      add_entry(interned_, field::annotation_names, i + 1, note_names[i]);
    packet([this](protozero::pbf_writer& packet) {
      packet.add_bool(field::first_packet, true);
      packet.add_uint32(field::sequence_flags, static_cast<uint32_t>(sequence_flag::cleared));
      protozero::pbf_writer{packet, field::defaults}.add_uint32(field::timestamp_clock_id, monotonic_clock);
      packet.add_message(field::interned_data, interned_);
    });
    interned_.clear();
    const auto by_rank = [](protozero::pbf_writer& track) { track.add_enum(field::child_ordering, order_by_rank); };
    describe_track(root_uuid, 0, "longshore", 0, by_rank);
    for (uint64_t i = 0; i < std::size(section_names); ++i)
      describe_track(first_section_uuid + i, root_uuid, section_names[i], i, by_rank);
  }

  template <class More>
  void describe_track(uint64_t uuid, uint64_t parent, std::string_view name, uint64_t rank, More&& more) {
    packet([&](protozero::pbf_writer& packet) {
      protozero::pbf_writer track{packet, field::track_descriptor};
      track.add_uint64(field::uuid, uuid);
      track.add_string(field::track_name, name.data(), name.size());
      if (parent != 0)
        track.add_uint64(field::parent, parent);
      track.add_int32(field::order_rank, static_cast<int32_t>(rank));
      more(track);
    });
  }

  /// An event is built beside its packet, since the names it turns out to need go before it.
  protozero::pbf_writer begin_event(event_type type, uint64_t track) {
    event_.clear();
    protozero::pbf_writer event{event_};
    event.add_enum(field::type, static_cast<int32_t>(type));
    event.add_uint64(field::track_uuid, track);
    return event;
  }

  void end_event(uint64_t at_ns) {
    packet([&](protozero::pbf_writer& packet) {
      packet.add_uint64(field::timestamp, at_ns);
      packet.add_uint32(field::sequence_flags, static_cast<uint32_t>(sequence_flag::needs_incremental));
      if (!interned_.empty())
        packet.add_message(field::interned_data, interned_);
      packet.add_message(field::track_event, event_);
    });
    interned_.clear();
  }

  // --- names

  uint64_t interned_id(field::interned_table table, std::string_view text) {
    auto& ids = table == field::event_names ? event_name_ids_ : string_ids_;
    if (auto known = ids.find(text); known != ids.end())
      return known->second;
    const uint64_t id = ids.size() + 1;
    ids.emplace(text, id);
    add_entry(interned_, table, id, text);
    return id;
  }
  uint64_t event_name_id(std::string_view text) { return interned_id(field::event_names, text); }

  void annotate(protozero::pbf_writer& event, note name, uint64_t value) {
    protozero::pbf_writer annotation{event, field::annotations};
    annotation.add_uint64(field::annotation_name_iid, static_cast<uint64_t>(name));
    annotation.add_uint64(field::uint_value, value);
  }

  void annotate(protozero::pbf_writer& event, note name, double value) {
    protozero::pbf_writer annotation{event, field::annotations};
    annotation.add_uint64(field::annotation_name_iid, static_cast<uint64_t>(name));
    annotation.add_double(field::double_value, value);
  }

  void annotate(protozero::pbf_writer& event, note name, std::string_view text) {
    const auto id = interned_id(field::annotation_strings, text);
    protozero::pbf_writer annotation{event, field::annotations};
    annotation.add_uint64(field::annotation_name_iid, static_cast<uint64_t>(name));
    annotation.add_uint64(field::string_iid, id);
  }

  // --- tracks

  track_group make_group(trace_kind kind, uint32_t subject) const {
    switch (kind) {
      case trace_kind::compute:
        return {section::compute, names_.subject_name(trace_subject::load, subject), false, {}};
      case trace_kind::wait:
        return {section::waits, names_.subject_name(trace_subject::load, subject), false, {}};
      case trace_kind::disk_op:
        return {section::disk, "disk", true, {}};
      case trace_kind::copy:
        return {section::disk, "copies to the device", true, {}};
      case trace_kind::counter:
        return {section::counters, std::string{names_.text(static_cast<trace_name_id>(subject))}, false, {}};
      default:
        return {section::actors, names_.subject_name(trace_subject::actor, subject), false, {}};
    }
  }

  track_group& group_of(const trace_record& record) {
    auto kind = record.kind;
    auto subject = record.subject;
    if (kind == trace_kind::instant)
      kind = trace_kind::message;  // both stand on the actor's track
    else if (kind == trace_kind::disk_op || kind == trace_kind::copy)
      subject = 0;  // lanes are of the disk and the device, not of the file
    else if (kind == trace_kind::counter)
      subject = record.name;
    const auto key = [&] { return uint64_t{static_cast<uint8_t>(kind)} << 32 | subject; };
    auto known = groups_.find(key());
    if (known == groups_.end() && groups_.size() >= limits_.max_track_groups)
      subject = 0;
    if (known == groups_.end())
      known = groups_.try_emplace(key(), make_group(kind, subject)).first;
    return known->second;
  }

  uint64_t new_lane(track_group& group) {
    const auto uuid = next_uuid_++;
    const auto number = group.lanes.size() + 1;
    auto name = group.name;
    if (group.numbered || number > 1)
      name += " " + std::to_string(number);
    describe_track(uuid, static_cast<uint64_t>(group.place), name, uuid, [&](protozero::pbf_writer& track) {
      if (group.place == section::counters)
        protozero::pbf_writer{track, field::counter}.add_enum(field::unit,
                                                              name.ends_with("bytes") ? unit_bytes : unit_count);
    });
    group.lanes.push_back({uuid, 0});
    return uuid;
  }

  uint64_t main_track(const trace_record& record) {
    auto& group = group_of(record);
    return group.lanes.empty() ? new_lane(group) : group.lanes.front().uuid;
  }

  /// The first lane that is free over the whole of the record: slices of one track never overlap.
  uint64_t take_lane(const trace_record& record) {
    auto& group = group_of(record);
    auto free = std::find_if(group.lanes.begin(), group.lanes.end(),
                             [&](const lane& at) { return at.free_at_ns <= record.start_ns; });
    if (free == group.lanes.end()) {
      new_lane(group);
      free = std::prev(group.lanes.end());
    }
    free->free_at_ns = record.start_ns + record.duration_ns;
    return free->uuid;
  }

  // --- records

  void encode_batch() {
    const auto place = [](const threaded_record& at) {
      return std::tuple{at.record.start_ns, at.record.start_ns + at.record.duration_ns};
    };
    std::stable_sort(batch_.begin(), batch_.end(), [&](const auto& a, const auto& b) { return place(a) < place(b); });
    for (const auto& [record, thread] : batch_) {
      switch (record.kind) {
        case trace_kind::counter:
          encode_counter(record);
          break;
        case trace_kind::instant:
          encode_instant(record, thread);
          break;
        default:
          encode_slice(record, thread);
      }
    }
    batch_.clear();
  }

  void encode_counter(const trace_record& record) {
    begin_event(event_type::counter, main_track(record))
        .add_int64(field::counter_value, static_cast<int64_t>(record.value));
    end_event(record.start_ns);
  }

  void encode_instant(const trace_record& record, trace_name_id thread) {
    const auto track = record.subject != 0 ? main_track(record) : static_cast<uint64_t>(section::tracer);
    auto event = begin_event(event_type::instant, track);
    describe(event, record, thread);
    end_event(record.start_ns);
  }

  void encode_slice(const trace_record& record, trace_name_id thread) {
    const auto track = take_lane(record);
    auto event = begin_event(event_type::slice_begin, track);
    describe(event, record, thread);
    end_event(record.start_ns);
    begin_event(event_type::slice_end, track);
    end_event(record.start_ns + record.duration_ns);
  }

  void describe(protozero::pbf_writer& event, const trace_record& record, trace_name_id thread) {
    event.add_uint64(field::name_iid, event_name_id(names_.text(record.name)));
    event.add_uint64(field::category_iids, static_cast<uint64_t>(record.kind));
    if (record.span != 0)
      event.add_fixed64(field::flow_ids, record.span);
    if (record.cause != 0)
      end_flow(event, record.cause);
    annotate_all(event, record, thread);
  }

  /// A span opens one flow, and each of its effects ends it. Perfetto closes a flow at the first terminating_flow_ids,
  /// so a cause with many effects would have one arrow; the older form, a bind id with a direction, leaves it open.
  void end_flow(protozero::pbf_writer& event, trace_span_id cause) {
    protozero::pbf_writer legacy{event, field::legacy_event};
    legacy.add_uint64(field::bind_id, cause);
    legacy.add_enum(field::flow_direction, flow_in);
  }

  void annotate_all(protozero::pbf_writer& event, const trace_record& record, trace_name_id thread) {
    if (record.kind == trace_kind::disk_op || record.kind == trace_kind::copy)
      annotate(event, note::file, names_.subject_name(trace_subject::file, record.subject));
    if (record.kind == trace_kind::disk_op)
      annotate(event, note::offset, record.detail);
    if (record.value != 0 || record.kind == trace_kind::disk_op)
      annotate(event, note::bytes, record.value);
    if (record.kind == trace_kind::message && record.detail != 0) {
      const auto from = static_cast<uint32_t>(record.detail);
      annotate(event, note::from, names_.subject_name(trace_subject::actor, from));
    }
    if (record.kind == trace_kind::message || record.waited_ns != 0)
      annotate(event, note::waited_us, static_cast<double>(record.waited_ns) / 1000.0);
    if (record.os_error != 0)
      annotate(event, note::error, error_name(record.os_error));
    annotate(event, note::thread, names_.text(thread));
  }

  const trace_names& names_;
  perfetto_limits limits_;
  part_file file_;
  std::vector<threaded_record> batch_;
  std::string event_;     // the event being built
  std::string interned_;  // entries that the next packet defines
  std::map<std::string, uint64_t, std::less<>> event_name_ids_;
  std::map<std::string, uint64_t, std::less<>> string_ids_;
  std::unordered_map<uint64_t, track_group> groups_;
  uint64_t next_uuid_ = first_section_uuid + std::size(section_names);
};

perfetto_writer::perfetto_writer(std::unique_ptr<encoder> made) : encoder_{std::move(made)} {}
perfetto_writer::perfetto_writer(perfetto_writer&&) noexcept = default;
perfetto_writer& perfetto_writer::operator=(perfetto_writer&&) noexcept = default;
perfetto_writer::~perfetto_writer() = default;

expected<perfetto_writer> perfetto_writer::open(std::string path, const trace_names& names, perfetto_limits limits) {
  auto made = std::make_unique<encoder>(std::move(path), names, limits);
  if (auto opened = made->flush(); !opened)
    return unexpected{opened.error()};
  return perfetto_writer{std::move(made)};
}

void perfetto_writer::add(const trace_record& record, trace_name_id thread) { encoder_->add(record, thread); }
void perfetto_writer::note_dropped(uint64_t count, uint64_t at_ns) { encoder_->note_dropped(count, at_ns); }
expected<void> perfetto_writer::flush() { return encoder_->flush(); }
expected<void> perfetto_writer::finish() { return encoder_->finish(); }

}  // namespace longshore
