// What the actors themselves cost, of a real load of a real file: actor_costs FILE [ROUNDS]
//
// 1. a cache hit, from the caller to a lease
// 2. acquiring and releasing a layer of a stream that is on the device
// 3. the time that all handlers of all messages of a cold load took together, as a share of the load on one core
// 4. cold loads with the trace on and off, in turns, into warm arenas (so that page faults do not drown what is sought)
//
// Prints one JSON object with every sample.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>

#include <nlohmann/json.hpp>

#include "actors/runtime.hpp"
#include "app/cli/machine_limits.hpp"
#include "app/cli/median.hpp"
#include "gpu/host_device.hpp"
#include "io/open_model.hpp"
#include "io/trace_ring.hpp"

using namespace longshore;

namespace {

template <class T>
T value_or_exit(expected<T> result) {
  if (!result) {
    std::fprintf(stderr, "%s\n", to_text(result.error()).c_str());
    std::exit(1);
  }
  return std::move(*result);
}

double seconds_of_load(runtime& loader, const std::string& path, hold_choice hold) {
  const auto begin_ns = trace_now_ns();
  auto source = value_or_exit(find_source({path}, {.hold = hold}));
  auto answer = value_or_exit(loader.load({.key = path, .kind = model_kind::data, .source = std::move(source)}));
  return static_cast<double>(trace_now_ns() - begin_ns) / 1e9;
}

std::vector<double> measure_hits(const std::string& path, size_t count) {
  auto loader = value_or_exit(runtime::start());
  const auto source = value_or_exit(find_source({path}, {.hold = hold_choice::mapped}));
  const get_model request{.key = path, .kind = model_kind::data, .source = source};
  std::vector<double> seconds;
  value_or_exit(loader->load(request));
  for (size_t i = 0; i < count; ++i) {
    const auto begin_ns = trace_now_ns();
    const auto answer = value_or_exit(loader->load(request));
    seconds.push_back(static_cast<double>(trace_now_ns() - begin_ns) / 1e9);
  }
  return seconds;
}

/// Acquire and release of a layer that is on the device, and stays there.
std::vector<double> measure_resident_layer(const std::string& path, size_t count) {
  auto source = value_or_exit(find_source({path}));
  const auto header = value_or_exit(open_model(source.files.front())).header;
  stream_request request{.sources = {{.files = source}}, .layers = {{.name = "layer", .tensors = {}}}};
  for (const auto& tensor : header->tensors)
    if (tensor.size_bytes() < 1 << 20 && request.layers.front().tensors.size() < 10)
      request.layers.front().tensors.push_back({0, tensor.name});
  auto loader = value_or_exit(runtime::start({.target = std::make_shared<host_device>()}));
  const auto model = value_or_exit(loader->stream(request));
  std::vector<double> seconds;
  value_or_exit(model->acquire(0));
  for (size_t i = 0; i < count; ++i) {
    const auto begin_ns = trace_now_ns();
    value_or_exit(model->acquire(0))->end(nullptr);
    seconds.push_back(static_cast<double>(trace_now_ns() - begin_ns) / 1e9);
  }
  return seconds;
}

double cold_load(runtime& loader, const std::string& path) {
  std::ignore = loader.clear();
  std::ignore = evict_from_page_cache(path);
  return seconds_of_load(loader, path, hold_choice::owned);
}

struct message_cost {
  uint64_t messages = 0;
  double handler_seconds = 0;
  double load_seconds = 0;
};

message_cost measure_messages(runtime& loader, const std::string& path) {
  auto& rings = tracer_rings::process();
  std::ignore = rings.drain([](const trace_record&, trace_name_id) {});
  rings.enable();
  message_cost cost;
  cost.load_seconds = cold_load(loader, path);
  rings.disable();
  rings.drain([&](const trace_record& record, trace_name_id) {
    if (record.kind != trace_kind::message)
      return;
    ++cost.messages;
    cost.handler_seconds += static_cast<double>(record.duration_ns) / 1e9;
  });
  return cost;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("usage: actor_costs FILE [ROUNDS]\n", stderr);
    return 2;
  }
  const std::string path = argv[1];
  const auto rounds = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 7;
  const auto hits = measure_hits(path, 20'000);
  const auto layers = measure_resident_layer(path, 20'000);
  std::vector<double> shares, off, on;
  uint64_t messages = 0;
  const auto trace_path = path + ".actor_costs.perfetto-trace";
  for (size_t round = 0; round < rounds; ++round)
    for (const bool traced : {round % 2 == 0, round % 2 != 0}) {
      auto loader = value_or_exit(runtime::start({.trace_path = traced ? trace_path : ""}));
      std::ignore = cold_load(*loader, path);  // fills the pool with a warm arena
      (traced ? on : off).push_back(cold_load(*loader, path));
    }
  auto loader = value_or_exit(runtime::start());
  std::ignore = cold_load(*loader, path);
  for (size_t round = 0; round < rounds; ++round) {
    const auto cost = measure_messages(*loader, path);
    messages = cost.messages;
    shares.push_back(cost.handler_seconds / cost.load_seconds);
  }
  std::remove(trace_path.c_str());
  std::vector<double> ratios;
  for (size_t i = 0; i < on.size(); ++i)
    ratios.push_back(on[i] / off[i]);
  const auto p99 = [](std::vector<double> of) {
    std::sort(of.begin(), of.end());
    return of[of.size() * 99 / 100];
  };
  std::puts(nlohmann::ordered_json{{"hit_microseconds_median", median(hits) * 1e6},
                                   {"hit_microseconds_p99", p99(hits) * 1e6},
                                   {"resident_layer_microseconds_median", median(layers) * 1e6},
                                   {"resident_layer_microseconds_p99", p99(layers) * 1e6},
                                   {"messages_of_a_load", messages},
                                   {"handlers_share_of_load_median", median(shares)},
                                   {"handlers_share_of_load", shares},
                                   {"trace_on_over_off_median", median(ratios)},
                                   {"trace_on_seconds", on},
                                   {"trace_off_seconds", off}}
                .dump(2)
                .c_str());
}
