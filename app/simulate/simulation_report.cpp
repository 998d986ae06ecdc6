#include "app/simulate/simulation_report.hpp"

#include <utility>
#include <vector>

#include "app/cli/terminal.hpp"

namespace longshore {
namespace {

double seconds(std::chrono::nanoseconds time) { return std::chrono::duration<double>(time).count(); }

bool was_refused(const step_outcome& step) { return step.reason.code != errc{}; }

std::string percent(double share) { return fixed(100 * share, 1) + " %"; }

double ratio_of(const simulation_result& result) {
  const auto least = result.bound.seconds();
  return least > 0 ? result.loading_seconds / least : 0;
}

struct memory_line {
  const char* name;
  const char* field;
  uint64_t peak_bytes;
  uint64_t limit_bytes;
};

std::vector<memory_line> memory_lines(const scenario& what, const simulation_result& result) {
  const auto& machine = what.machine;
  std::vector<memory_line> lines{{"host memory", "host", result.peak.host_bytes, machine.host_limit_bytes}};
  if (machine.device_capacity_bytes > 0) {
    lines.push_back({"of it page-locked", "pinned", result.peak.pinned_bytes, machine.pin_budget_bytes});
    lines.push_back({"of it staging", "staging", result.peak.staging_bytes, machine.staging_bytes});
    lines.push_back({"device memory", "device", result.peak.device_bytes, machine.device_capacity_bytes});
  }
  return lines;
}

std::string steps_text(const scenario& what, const simulation_result& result) {
  table t{{"step", "model", "hold", "begins s", "takes s", "given back s", "outcome"}};
  std::string refusals;
  for (size_t i = 0; i < result.steps.size(); ++i) {
    const auto& step = what.steps[i];
    const auto& outcome = result.steps[i];
    const auto refused = was_refused(outcome);
    t.add({step.name, what.models[step.model].name, name(step.hold), fixed(seconds(outcome.load.begin), 3),
           fixed(seconds(outcome.load.end - outcome.load.begin), 3),
           refused ? "-" : fixed(seconds(outcome.lease_end), 3),
           refused       ? "refused"
           : outcome.hit ? "was there"
                         : "loaded"});
    if (refused)
      refusals += step.name + ": " + to_text(outcome.reason) + "\n";
  }
  return t.text() + refusals;
}

json step_json(const scenario& what, size_t i, const step_outcome& outcome) {
  const auto& step = what.steps[i];
  json entry{{"name", step.name},
             {"model", what.models[step.model].name},
             {"hold", name(step.hold)},
             {"begin_seconds", seconds(outcome.load.begin)},
             {"answer_seconds", seconds(outcome.load.end)},
             {"lease_end_seconds", seconds(outcome.lease_end)},
             {"hit", outcome.hit}};
  if (was_refused(outcome))
    entry["error"] = to_json(outcome.reason);
  return entry;
}

json history_json(const scenario& what, const model_history& history) {
  json changes = json::array();
  for (const auto& change : history.changes)
    changes.push_back({{"at_seconds", seconds(change.at)}, {"state", name(change.state)}});
  json evictions = json::array();
  for (const auto at : history.evictions)
    evictions.push_back(seconds(at));
  return {{"model", what.models[history.model].name},
          {"hold", name(history.hold)},
          {"changes", std::move(changes)},
          {"evicted_at_seconds", std::move(evictions)}};
}

}  // namespace

std::string totals_text(const scenario& what, const simulation_result& result) {
  const auto& bound = result.bound;
  auto text = steps_text(what, result) + "\n";
  text += "time       " + fixed(seconds(result.end), 3) + " s, of which " + fixed(result.loading_seconds, 3) +
          " s with a step waiting for its model\n";
  text += "at best    " + fixed(bound.seconds(), 3) + " s: each model read once in " + fixed(bound.disk_seconds, 3) +
          " s, copied to the device once in " + fixed(bound.link_seconds, 3) + " s\n";
  text += "ratio      " + fixed(ratio_of(result), 3) + "\n";
  text += "read       " + human_bytes(result.read_bytes) + ", disk busy " + percent(result.disk_busy_share) +
          " of the time from its first byte to its last\n";
  if (what.machine.device_capacity_bytes > 0)
    text += "uploaded   " + human_bytes(result.uploaded_bytes) + ", link busy " + percent(result.link_busy_share) +
            " of the time from its first byte to its last\n";
  text += "evictions  " + std::to_string(result.evictions) + "\n";
  text += "refusals   " + std::to_string(result.refusals) + "\n\n";
  table peaks{{"", "peak", "limit", "share"}};
  for (const auto& line : memory_lines(what, result))
    peaks.add({line.name, human_bytes(line.peak_bytes), human_bytes(line.limit_bytes),
               line.limit_bytes == 0
                   ? "-"
                   : percent(static_cast<double>(line.peak_bytes) / static_cast<double>(line.limit_bytes))});
  return text + peaks.text();
}

json simulation_json(const scenario& what, const simulation_result& result) {
  json steps = json::array(), histories = json::array(), memory = json::object();
  for (size_t i = 0; i < result.steps.size(); ++i)
    steps.push_back(step_json(what, i, result.steps[i]));
  for (const auto& history : result.histories)
    histories.push_back(history_json(what, history));
  for (const auto& line : memory_lines(what, result))
    memory[line.field] = {{"peak_bytes", line.peak_bytes}, {"limit_bytes", line.limit_bytes}};
  return {{"seconds", seconds(result.end)},
          {"loading_seconds", result.loading_seconds},
          {"bound_seconds", result.bound.seconds()},
          {"bound_disk_seconds", result.bound.disk_seconds},
          {"bound_link_seconds", result.bound.link_seconds},
          {"bound_ratio", ratio_of(result)},
          {"read_bytes", result.read_bytes},
          {"uploaded_bytes", result.uploaded_bytes},
          {"disk_busy_share", result.disk_busy_share},
          {"link_busy_share", result.link_busy_share},
          {"evictions", result.evictions},
          {"refusals", result.refusals},
          {"memory", std::move(memory)},
          {"steps", std::move(steps)},
          {"models", std::move(histories)}};
}

}  // namespace longshore
