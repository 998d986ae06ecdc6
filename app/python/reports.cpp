#include "app/python/reports.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

namespace nb = nanobind;

namespace longshore::python {
namespace {

nb::dict dict_of(const entry_info& entry) {
  nb::dict one;
  one["key"] = entry.key;
  one["kind"] = name(entry.kind).data();
  one["generation"] = entry.generation;
  one["file_bytes"] = entry.size_bytes;
  one["memory_bytes"] = entry.reserved_bytes;
  one["leases"] = entry.leases;
  one["pinned"] = entry.kept;
  one["last_use"] = entry.last_use;
  one["tier"] = tier_of(entry.hold) == tier::device ? "device" : "host";
  one["is_object"] = entry.hold == hold_mode::object;
  return one;
}

nb::dict dict_of(const registry_counts& counts) {
  nb::dict all;
  all["hits"] = counts.hits;
  all["misses"] = counts.misses;
  all["puts"] = counts.puts;
  all["evictions"] = counts.evictions;
  all["failures"] = counts.failures;
  return all;
}

nb::dict dict_of(const memory_bytes& bytes) {
  nb::dict both;
  both["host"] = bytes.host_bytes;
  both["pinned"] = bytes.pinned_bytes;
  return both;
}

nb::dict dict_of(const account_info& account) {
  nb::dict one;
  one["name"] = account.spec.name;
  one["class"] = std::string{name(account.spec.cls)};
  one["leased"] = account.spec.leased;
  one["held"] = dict_of(account.held);
  one["asked_back"] = dict_of(account.asked_back);
  return one;
}

nb::dict dict_of(const memory_level& level) {
  nb::dict one;
  one["name"] = level.name;
  one["limit"] = level.limit_bytes;
  one["available"] = level.available_bytes;
  return one;
}

nb::dict dict_of(const pressure_asked& asked) {
  nb::dict one;
  one["times"] = asked.times;
  one["last_bytes"] = asked.last_bytes;
  one["last_why"] = asked.last_why;
  return one;
}

nb::dict dict_of(const preload_entry& entry) {
  nb::dict one;
  one["kind"] = name(entry.kind).data();
  one["files"] = entry.files;
  one["key"] = entry.key;
  one["enabled"] = entry.enabled;
  one["description"] = entry.description;
  one["type"] = entry.type;
  one["device"] = entry.device;
  one["weight_dtype"] = entry.weight_dtype;
  one["wanted_type"] = wanted_type(entry);
  one["pointer"] = entry.pointer;
  return one;
}

template <class Item>
nb::list list_of(const std::vector<Item>& items) {
  nb::list all;
  for (const auto& item : items)
    all.append(dict_of(item));
  return all;
}

}  // namespace

nb::dict dict_of(const model_list& list) {
  nb::dict all;
  all["entries"] = list_of(list.entries);
  all["counts"] = dict_of(list.counts);
  all["used"] = list.used_bytes;
  all["limit"] = list.limit_bytes;
  return all;
}

nb::dict dict_of(const pin_status& status) {
  nb::dict all;
  all["accounts"] = list_of(status.accounts);
  all["used"] = dict_of(status.used);
  all["limit"] = dict_of(status.limit);
  all["peak"] = dict_of(status.peak);
  all["evictions"] = status.evictions;
  all["refusals"] = status.refusals;
  return all;
}

nb::dict dict_of(const pressure_status& status) {
  nb::dict all;
  all["host"] = list_of(status.latest.host);
  all["device"] = status.latest.device ? nb::object(dict_of(*status.latest.device)) : nb::none();
  all["samples"] = status.samples;
  all["host_asked"] = dict_of(status.host);
  all["device_asked"] = dict_of(status.device);
  return all;
}

nb::dict dict_of(const staging_status& status) {
  nb::dict all;
  all["used"] = status.bytes;
  all["peak"] = status.peak_bytes;
  all["pinned"] = status.pinned_bytes;
  all["pinned_peak"] = status.pinned_peak_bytes;
  return all;
}

nb::dict dict_of(const stream_status& status) {
  nb::dict waited;
  for (size_t i = 1; i < status.waited_ns.size(); ++i)  // the first is nothing to wait for
    waited[name(static_cast<layer_wait>(i))] = static_cast<double>(status.waited_ns[i]) / 1e9;
  nb::dict all;
  all["layers"] = status.layers;
  all["model"] = status.model_bytes;
  all["budget"] = status.budget_bytes;
  all["device"] = status.device_bytes;
  all["device_peak"] = status.device_peak_bytes;
  all["resident"] = status.counts.resident_bytes;
  all["passes"] = status.counts.passes;
  all["uses"] = status.counts.uses;
  all["hits"] = status.counts.hits;
  all["departures"] = status.counts.departures;
  all["moved"] = status.counts.moved_bytes;
  all["moved_last_pass"] = status.counts.bytes_of_last_pass;
  all["from_disk"] = status.disk_bytes;
  all["link_bytes_per_second"] = status.link_bytes_per_s;
  all["waited_seconds"] = waited;
  return all;
}

nb::dict dict_of(const load_progress& news) {
  nb::dict one;
  one["path"] = news.path;
  one["stage"] = name(news.stage);
  one["done"] = news.bytes_done;
  one["total"] = news.bytes_total;
  return one;
}

nb::dict dict_of(const preload_config& config) {
  nb::dict all;
  all["description"] = config.description;
  all["entries"] = list_of(config.entries);
  all["auto_gpu_load"] = config.auto_gpu_load;
  all["verbose"] = config.verbose;
  all["warnings"] = config.warnings;
  return all;
}

}  // namespace longshore::python
