#pragma once
/// The part of Perfetto's trace protos that the writer uses and its test reads: field numbers and enum values.
///
/// Source: protos/perfetto/trace/ in Perfetto's repository. Numbers there never change their meaning.

#include <cstdint>

namespace longshore::perfetto {

namespace field {
enum trace_fields : uint32_t { packet = 1 };
enum packet_fields : uint32_t {
  clock_snapshot = 6,
  timestamp = 8,
  sequence_id = 10,
  track_event = 11,
  interned_data = 12,
  sequence_flags = 13,
  defaults = 59,
  track_descriptor = 60,
  first_packet = 87,
};
enum defaults_fields : uint32_t { timestamp_clock_id = 58 };
enum clock_snapshot_fields : uint32_t { clocks = 1, primary_trace_clock = 2 };
enum clock_fields : uint32_t { clock_id = 1, clock_timestamp = 2 };
enum event_fields : uint32_t {
  category_iids = 3,
  annotations = 4,
  legacy_event = 6,
  type = 9,
  name_iid = 10,
  track_uuid = 11,
  counter_value = 30,
  flow_ids = 47,
};
enum legacy_event_fields : uint32_t { bind_id = 8, flow_direction = 13 };
enum descriptor_fields : uint32_t {
  uuid = 1,
  track_name = 2,
  parent = 5,
  counter = 8,
  child_ordering = 11,
  order_rank = 12
};
enum counter_fields : uint32_t { unit = 3 };
enum interned_table : uint32_t { categories = 1, event_names = 2, annotation_names = 3, annotation_strings = 29 };
enum entry_fields : uint32_t { iid = 1, entry_text = 2 };
enum annotation_fields : uint32_t { annotation_name_iid = 1, uint_value = 3, double_value = 5, string_iid = 17 };
}  // namespace field

enum class event_type : int32_t { slice_begin = 1, slice_end = 2, instant = 3, counter = 4 };
enum class sequence_flag : uint32_t { cleared = 1, needs_incremental = 2 };
constexpr int32_t flow_in = 1;
constexpr int32_t unit_count = 2, unit_bytes = 3;
constexpr int32_t order_by_rank = 3;
constexpr uint32_t monotonic_clock = 3;
constexpr uint32_t only_sequence = 1;

}  // namespace longshore::perfetto
