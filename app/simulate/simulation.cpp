#include "app/simulate/simulation.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "app/simulate/sparse_models.hpp"
#include "io/model_source.hpp"

namespace longshore {
namespace {

using std::chrono::nanoseconds;

double seconds(nanoseconds time) { return std::chrono::duration<double>(time).count(); }

class simulation {
public:
  simulation(const scenario& what, sparse_models files) : what_(what), files_(std::move(files)) {}

  expected<simulation_result> run(const std::function<bool()>& should_stop);

private:
  /// A step on its way, and what it holds.
  struct active_step {
    std::shared_ptr<const model_lease> lease;
    bool is_done = false;
  };

  /// What stands behind a history now.
  struct line {
    size_t loading = 0;  // steps that wait for the model
    size_t leases = 0;
    std::set<file_id> files;    // that are being loaded for it: its own, and the host copy that it comes from
    std::set<file_id> reading;  // those of them that are past waiting
    std::weak_ptr<const void> bytes;
    bool is_there = false;
  };

  void begin_step(size_t step);
  void answered(size_t step, const model_answer& answer);
  void done(size_t step);
  void end_lease(size_t step);
  std::optional<size_t> line_for(const load_progress& news);
  void heard(const load_progress& news);
  void look_around();

  size_t line_of(size_t step);
  void note(size_t line);
  std::vector<transfer> transfers(const std::vector<simulated_turn>& turns) const;
  void sum_up();

  const scenario& what_;
  sparse_models files_;
  simulation_result result_;
  std::vector<active_step> steps_;
  std::vector<line> lines_;  // beside the histories
  std::map<std::pair<size_t, hold_choice>, size_t> line_of_;
  std::map<file_id, size_t> line_of_file_;
  size_t steps_left_ = 0;
  size_t leases_left_ = 0;
  std::unique_ptr<virtual_runtime> runtime_;
};

expected<simulation_result> simulation::run(const std::function<bool()>& should_stop) {
  auto started = virtual_runtime::start(what_.machine, [this](const load_progress& news) { heard(news); });
  if (!started)
    return unexpected(started.error());
  runtime_ = std::move(*started);
  steps_.resize(what_.steps.size());
  result_.steps.resize(what_.steps.size());
  steps_left_ = what_.steps.size();
  for (size_t i = 0; i < what_.steps.size(); ++i)
    if (!what_.steps[i].after)
      runtime_->at(what_.steps[i].at.value_or(nanoseconds{0}), [this, i] { begin_step(i); });
  while ((steps_left_ > 0 || leases_left_ > 0) && runtime_->step()) {
    look_around();
    if (should_stop && should_stop())
      return unexpected(error{.code = errc::cancelled, .what = "the simulation was stopped"});
  }
  if (steps_left_ > 0)  // every request has a deadline, so this is a bug and no result
    return unexpected(error{.code = errc::stopped, .what = "the simulation came to rest before its last step"});
  sum_up();
  return std::move(result_);
}

size_t simulation::line_of(size_t step) {
  const auto& s = what_.steps[step];
  const auto [found, is_new] = line_of_.try_emplace({s.model, s.hold}, lines_.size());
  if (is_new) {
    lines_.emplace_back();
    result_.histories.push_back({.model = s.model, .hold = s.hold, .changes = {}, .evictions = {}, .refusals = {}});
  }
  return found->second;
}

/// A key stands for one model in one place, as a program would have it that wants both.
void simulation::begin_step(size_t step) {
  const auto& s = what_.steps[step];
  result_.steps[step].load.begin = runtime_->now();
  const auto at = line_of(step);
  ++lines_[at].loading;
  note(at);
  auto source = find_source({files_.path(s.model)}, {.hold = s.hold, .host_copy = s.host_copy});
  if (!source)
    return answered(step, {.lease = nullptr, .hit = false, .reason = source.error()});
  const auto deadline = std::chrono::duration_cast<std::chrono::milliseconds>(s.deadline);
  runtime_->get({.key = what_.models[s.model].name + " " + name(s.hold),
                 .kind = what_.models[s.model].kind,
                 .source = std::move(*source),
                 .keep = s.keep,
                 .urgent = s.urgent,
                 .deadline = deadline},
                [this, step](const model_answer& answer) { answered(step, answer); });
}

void simulation::answered(size_t step, const model_answer& answer) {
  auto& outcome = result_.steps[step];
  const auto at = line_of(step);
  auto& l = lines_[at];
  outcome.load.end = outcome.lease_end = runtime_->now();
  --l.loading;
  l.files.clear();
  l.reading.clear();
  if (answer.lease) {
    outcome.hit = answer.hit;
    steps_[step].lease = answer.lease;
    ++leases_left_;
    ++l.leases;
    l.is_there = true;
    const auto& model = answer.lease->model();
    if (model.files.empty())
      l.bytes = model.device_files.front();
    else
      l.bytes = model.files.front();
    runtime_->at(runtime_->now() + what_.steps[step].use, [this, step] { done(step); });
  } else {
    outcome.reason = answer.reason;
    outcome.reason.what = files_.without_folder(outcome.reason.what);
    outcome.reason.path = files_.without_folder(outcome.reason.path);
    result_.histories[at].refusals.push_back(runtime_->now());
    done(step);
  }
  note(at);
}

void simulation::done(size_t step) {
  steps_[step].is_done = true;
  --steps_left_;
  const auto& until = what_.steps[step].until;
  if (!until || steps_[*until].is_done)
    end_lease(step);
  for (size_t i = 0; i < what_.steps.size(); ++i) {
    if (what_.steps[i].until == step && steps_[i].is_done)
      end_lease(i);
    if (what_.steps[i].after == step)
      begin_step(i);
  }
}

void simulation::end_lease(size_t step) {
  if (!steps_[step].lease)
    return;
  steps_[step].lease.reset();
  result_.steps[step].lease_end = runtime_->now();
  --leases_left_;
  const auto at = line_of(step);
  --lines_[at].leases;
  note(at);
}

/// The runtime names files, and one may be loaded to several places. Those that begin do so in the order of the steps;
/// one that is left over is the host copy for a load that is under way.
std::optional<size_t> simulation::line_for(const load_progress& news) {
  std::optional<size_t> found;
  for (size_t i = 0; i < lines_.size(); ++i)
    if (lines_[i].loading > 0 && files_.path(result_.histories[i].model) == news.path)
      if (found = i; lines_[i].files.empty())
        break;
  if (found)
    lines_[*found].files.insert(news.file);
  return found;
}

void simulation::heard(const load_progress& news) {
  auto known = line_of_file_.find(news.file);
  if (known == line_of_file_.end()) {
    const auto at = line_for(news);
    if (!at)
      return;
    known = line_of_file_.emplace(news.file, *at).first;
  }
  auto& l = lines_[known->second];
  if (!l.files.contains(news.file))
    return;
  if (news.stage == load_stage::reading || news.stage == load_stage::checking)
    l.reading.insert(news.file);
  else
    l.reading.erase(news.file);
  note(known->second);
}

/// After each thing that happened: what memory is there, and which models are no more.
void simulation::look_around() {
  for (size_t i = 0; i < lines_.size(); ++i)
    if (lines_[i].is_there && lines_[i].bytes.expired()) {
      lines_[i].is_there = false;
      result_.histories[i].evictions.push_back(runtime_->now());
      note(i);
    }
  const auto memory = runtime_->memory();
  if (result_.memory.empty() || result_.memory.back().memory != memory)
    result_.memory.push_back({runtime_->now(), memory});
}

void simulation::note(size_t at) {
  const auto& l = lines_[at];
  const auto state = l.leases > 0    ? model_state::used
                     : l.loading > 0 ? (!l.reading.empty() ? model_state::reading : model_state::waiting)
                     : l.is_there    ? model_state::cached
                                     : model_state::absent;
  auto& changes = result_.histories[at].changes;
  if (changes.empty() || changes.back().state != state)
    changes.push_back({runtime_->now(), state});
}

std::vector<transfer> simulation::transfers(const std::vector<simulated_turn>& turns) const {
  std::vector<transfer> result;
  result.reserve(turns.size());
  for (const auto& turn : turns)
    result.push_back({{runtime_->since_start(turn.begin), runtime_->since_start(turn.end)}, turn.bytes});
  return result;
}

/// Of the time between the first byte and the last.
double busy_share(const std::vector<transfer>& all) {
  if (all.empty())
    return 0;
  nanoseconds busy{0};
  for (const auto& one : all)
    busy += one.when.end - one.when.begin;
  const auto whole = all.back().when.end - all.front().when.begin;
  return whole.count() == 0 ? 1 : seconds(busy) / seconds(whole);
}

/// The time that at least one of the spans covers.
double covered_seconds(std::vector<simulated_span> spans) {
  std::ranges::sort(spans, {}, [](const auto& span) { return std::pair{span.begin, span.end}; });
  nanoseconds covered{0}, reached{0};
  for (const auto& span : spans) {
    covered += std::max(span.end, reached) - std::max(span.begin, reached);
    reached = std::max(span.end, reached);
  }
  return seconds(covered);
}

void simulation::sum_up() {
  auto& r = result_;
  r.end = runtime_->now();
  r.reads = transfers(runtime_->disk_turns());
  r.uploads = transfers(runtime_->link_turns());
  r.read_bytes = runtime_->read_bytes();
  r.uploaded_bytes = runtime_->copied_bytes();
  r.disk_busy_share = busy_share(r.reads);
  r.link_busy_share = busy_share(r.uploads);
  std::vector<simulated_span> loads;
  for (const auto& step : r.steps) {
    loads.push_back(step.load);
    r.refusals += step.reason.code == errc{} ? 0 : 1;
  }
  r.loading_seconds = covered_seconds(std::move(loads));
  for (const auto& [at, memory] : r.memory) {
    r.peak.host_bytes = std::max(r.peak.host_bytes, memory.host_bytes);
    r.peak.staging_bytes = std::max(r.peak.staging_bytes, memory.staging_bytes);
    r.peak.pinned_bytes = std::max(r.peak.pinned_bytes, memory.pinned_bytes);
    r.peak.device_bytes = std::max(r.peak.device_bytes, memory.device_bytes);
  }
  std::map<size_t, bool> models_there;  // and whether on the device
  for (size_t i = 0; i < r.steps.size(); ++i)
    if (r.steps[i].reason.code == errc{})
      models_there[what_.steps[i].model] |= what_.steps[i].hold == hold_choice::device;
  for (const auto& [model, on_device] : models_there) {
    const auto bytes = static_cast<double>(files_.tensor_bytes(model));
    r.bound.disk_seconds += bytes / static_cast<double>(what_.machine.disk.bytes_per_s);
    if (on_device)
      r.bound.link_seconds += bytes / static_cast<double>(what_.machine.link.bytes_per_s);
  }
  for (const auto& history : r.histories)
    r.evictions += history.evictions.size();
}

}  // namespace

const char* name(model_state state) {
  switch (state) {
    case model_state::absent:
      return "absent";
    case model_state::waiting:
      return "waiting";
    case model_state::reading:
      return "reading";
    case model_state::used:
      return "used";
    case model_state::cached:
      return "cached";
  }
  return "unknown";
}

expected<simulation_result> simulate(const scenario& what, const std::function<bool()>& should_stop) {
  auto files = sparse_models::make(what.models);
  if (!files)
    return unexpected(files.error());
  return simulation(what, std::move(*files)).run(should_stop);
}

}  // namespace longshore
