#pragma once
/// A trace file read back by the rules that Perfetto reads it by, for tests.
///
/// Owns what it decoded. Whatever breaks a rule (a number used before it was defined, an event before its track, an
/// unknown field) is a failure of the running test.

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <protozero/pbf_reader.hpp>

#include "io/perfetto_fields.hpp"

namespace longshore::perfetto {

struct decoded_event {
  uint64_t at_ns = 0;
  event_type type{};
  uint64_t track = 0;
  std::string name;
  std::string category;
  uint64_t flow = 0;
  uint64_t flow_from = 0;
  int64_t counter = 0;
  std::map<std::string, uint64_t> numbers;
  std::map<std::string, std::string> texts;
};

struct decoded_track {
  std::string name;
  uint64_t parent = 0;
  int32_t unit = 0;
};

/// Reads a trace as Perfetto would, and fails the test on any number that is used before it is defined.
class decoded_trace {
public:
  std::vector<decoded_event> events;
  std::map<uint64_t, decoded_track> tracks;

  explicit decoded_trace(const std::string& data) {
    protozero::pbf_reader trace{data};
    while (trace.next(field::packet))
      read_packet(trace.get_message());
  }

  std::vector<decoded_event> named(const std::string& name) const {
    std::vector<decoded_event> found;
    std::copy_if(events.begin(), events.end(), std::back_inserter(found), [&](auto& at) { return at.name == name; });
    return found;
  }

  const std::string& track_name(const decoded_event& event) const { return tracks.at(event.track).name; }
  const std::string& section_of(const decoded_event& event) const {
    return tracks.at(tracks.at(event.track).parent).name;
  }

private:
  void read_packet(protozero::pbf_reader packet) {
    uint64_t at_ns = 0;
    uint32_t flags = 0;
    std::optional<protozero::pbf_reader> interned, event, descriptor;
    while (packet.next()) {
      switch (packet.tag()) {
        case field::timestamp:
          at_ns = packet.get_uint64();
          break;
        case field::sequence_flags:
          flags = packet.get_uint32();
          break;
        case field::interned_data:
          interned = packet.get_message();
          break;
        case field::track_event:
          event = packet.get_message();
          break;
        case field::track_descriptor:
          descriptor = packet.get_message();
          break;
        case field::sequence_id:
          EXPECT_EQ(packet.get_uint32(), only_sequence);
          break;
        default:
          packet.skip();
      }
    }
    if (flags == static_cast<uint32_t>(sequence_flag::cleared)) {
      EXPECT_EQ(std::exchange(cleared_, true), false) << "state is cleared once, at the beginning";
      EXPECT_TRUE(events.empty());
    }
    if (interned)
      read_interned(*interned);
    if (descriptor)
      read_track(*descriptor);
    if (event) {
      EXPECT_TRUE(cleared_);
      EXPECT_EQ(flags, static_cast<uint32_t>(sequence_flag::needs_incremental));
      events.push_back(read_event(*event, at_ns));
    }
  }

  void read_interned(protozero::pbf_reader data) {
    while (data.next()) {
      const auto table = data.tag();
      auto entry = data.get_message();
      uint64_t id = 0;
      std::string text;
      while (entry.next())
        entry.tag() == field::iid ? void(id = entry.get_uint64()) : void(text = entry.get_string());
      EXPECT_TRUE(interned_[table].emplace(id, text).second) << "defined twice: " << text;
    }
  }

  std::string resolve(uint32_t table, uint64_t id) {
    const auto known = interned_[table].find(id);
    EXPECT_NE(known, interned_[table].end()) << "table " << table << " id " << id << " used before it was defined";
    return known == interned_[table].end() ? "" : known->second;
  }

  void read_track(protozero::pbf_reader track) {
    uint64_t uuid = 0;
    decoded_track read;
    while (track.next()) {
      switch (track.tag()) {
        case field::uuid:
          uuid = track.get_uint64();
          break;
        case field::track_name:
          read.name = track.get_string();
          break;
        case field::parent:
          read.parent = track.get_uint64();
          break;
        case field::counter:
          read.unit = read_unit(track.get_message());
          break;
        default:
          track.skip();
      }
    }
    EXPECT_TRUE(read.parent == 0 || tracks.contains(read.parent));
    EXPECT_TRUE(tracks.emplace(uuid, read).second) << "two tracks with one number: " << read.name;
  }

  static int32_t read_unit(protozero::pbf_reader counter) { return counter.next(field::unit) ? counter.get_enum() : 0; }

  decoded_event read_event(protozero::pbf_reader event, uint64_t at_ns) {
    decoded_event read;
    read.at_ns = at_ns;
    while (event.next()) {
      switch (event.tag()) {
        case field::type:
          read.type = static_cast<event_type>(event.get_enum());
          break;
        case field::track_uuid:
          read.track = event.get_uint64();
          break;
        case field::name_iid:
          read.name = resolve(field::event_names, event.get_uint64());
          break;
        case field::category_iids:
          read.category = resolve(field::categories, event.get_uint64());
          break;
        case field::flow_ids:
          read.flow = event.get_fixed64();
          break;
        case field::legacy_event:
          read.flow_from = read_flow_end(event.get_message());
          break;
        case field::counter_value:
          read.counter = event.get_int64();
          break;
        case field::annotations:
          read_annotation(event.get_message(), read);
          break;
        default:
          ADD_FAILURE() << "unknown field " << event.tag();
          event.skip();
      }
    }
    EXPECT_TRUE(tracks.contains(read.track)) << "an event before its track";
    return read;
  }

  static uint64_t read_flow_end(protozero::pbf_reader legacy) {
    uint64_t id = 0;
    while (legacy.next()) {
      if (legacy.tag() == field::bind_id)
        id = legacy.get_uint64();
      else
        EXPECT_EQ(legacy.get_enum(), flow_in);
    }
    return id;
  }

  void read_annotation(protozero::pbf_reader annotation, decoded_event& into) {
    std::string name;
    while (annotation.next()) {
      switch (annotation.tag()) {
        case field::annotation_name_iid:
          name = resolve(field::annotation_names, annotation.get_uint64());
          break;
        case field::uint_value:
          into.numbers[name] = annotation.get_uint64();
          break;
        case field::double_value:
          into.texts[name] = std::to_string(annotation.get_double());
          break;
        case field::string_iid:
          into.texts[name] = resolve(field::annotation_strings, annotation.get_uint64());
          break;
        default:
          ADD_FAILURE() << "unknown field " << annotation.tag();
          annotation.skip();
      }
    }
  }

  std::map<uint32_t, std::map<uint64_t, std::string>> interned_;
  bool cleared_ = false;
};

/// On every track, in order of time: each begin has its end before the next begin.
inline void expect_flat_tracks(const decoded_trace& trace) {
  std::map<uint64_t, std::vector<decoded_event>> by_track;
  for (const auto& event : trace.events)
    if (event.type == event_type::slice_begin || event.type == event_type::slice_end)
      by_track[event.track].push_back(event);
  for (auto& [track, events] : by_track) {
    std::stable_sort(events.begin(), events.end(), [](auto& a, auto& b) { return a.at_ns < b.at_ns; });
    ASSERT_EQ(events.size() % 2, 0u);
    for (size_t i = 0; i < events.size(); ++i)
      ASSERT_EQ(events[i].type, i % 2 == 0 ? event_type::slice_begin : event_type::slice_end)
          << trace.tracks.at(track).name << " at " << events[i].at_ns;
  }
}

}  // namespace longshore::perfetto
