/// `longshore bench`: this machine's limits, and how near a load comes to them, interleaved in one run.

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>

#include "app/cli/bench_device.hpp"
#include "app/cli/commands.hpp"
#include "app/cli/exit_code.hpp"
#include "app/cli/machine_limits.hpp"
#include "app/cli/make_checkpoint.hpp"
#include "app/cli/median.hpp"
#include "app/cli/runtime_session.hpp"
#include "app/cli/terminal.hpp"
#include "io/arena.hpp"
#include "io/model_source.hpp"
#include "io/trace_ring.hpp"

namespace longshore {
namespace {

struct bench_arguments {
  std::string file;
  std::string folder = ".";
  unsigned rounds = 5;
  unsigned hits = 2000;
  bool json = false;
  device_arguments device;
};

/// What was measured, in seconds, a value a round.
struct samples {
  std::vector<double> seconds;

  double middle() const { return median(seconds); }
  double least() const { return *std::min_element(seconds.begin(), seconds.end()); }
  double most() const { return *std::max_element(seconds.begin(), seconds.end()); }
};

/// The lines of the table: their names, and the limit that each load is compared with.
constexpr auto disk_limit = "disk, direct, memory touched before";
constexpr auto copy_limit = "page cache to fresh memory, plain copy";
constexpr auto memory_limit_line = "memory to memory";
constexpr auto fault_limit = "page faults, fresh memory";
constexpr auto cold_owned = "load, cold, owned";
constexpr auto cold_warm_memory = "load, cold, owned, warm arena";
constexpr auto hot_owned = "load, hot, owned";
constexpr auto hot_mapped = "load, hot, mapped";

const std::map<std::string, std::string> limit_of{
    {cold_owned, disk_limit}, {cold_warm_memory, disk_limit}, {hot_owned, copy_limit}};

class bench_run {
public:
  bench_run(const bench_arguments& arguments, context& ctx, std::string path)
      : arguments_(arguments), ctx_(ctx), path_(std::move(path)) {}

  expected<void> measure();
  void print() const;

private:
  expected<void> measure_limits();
  expected<void> measure_loads();
  expected<void> measure_load(const char* line, hold_choice hold, unsigned repeat);
  expected<void> measure_hits();
  expected<void> add(const char* line, const expected<double>& seconds);
  double limit_seconds(const std::string& line) const;

  const bench_arguments& arguments_;
  context& ctx_;
  std::string path_;
  uint64_t bytes_ = 0;
  arena memory_, other_;
  std::optional<device_bench> device_;
  std::map<std::string, samples> results_;
  samples hits_;
};

expected<void> bench_run::add(const char* line, const expected<double>& seconds) {
  if (!seconds)
    return unexpected(seconds.error());
  results_[line].seconds.push_back(*seconds);
  return {};
}

expected<void> bench_run::measure_limits() {
  if (auto cold = evict_from_page_cache(path_); !cold)
    return cold;
  // Touched before, as the line says, and because memory that the machine has never used is far slower the first time.
  touch_pages(memory_.data(), memory_.size_bytes());
  touch_pages(other_.data(), other_.size_bytes());
  if (auto done = add(disk_limit, time_disk_direct(path_, {memory_.data(), memory_.size_bytes()})); !done)
    return done;
  if (auto hot = bring_into_page_cache(path_); !hot)
    return hot;
  warm_free_memory(bytes_);
  if (auto done = add(copy_limit, time_buffered_copy(path_)); !done)
    return done;
  results_[memory_limit_line].seconds.push_back(
      time_memory_copy({other_.data(), bytes_}, std::span<const std::byte>{memory_.data(), bytes_}));
  warm_free_memory(bytes_);
  results_[fault_limit].seconds.push_back(time_page_faults(bytes_));
  return {};
}

/// Each in a runtime of its own, as a program that starts would have it; the last of `repeat` loads counts.
expected<void> bench_run::measure_load(const char* line, hold_choice hold, unsigned repeat) {
  auto started = runtime::start();
  if (!started)
    return unexpected(started.error());
  double seconds = 0;
  for (unsigned i = 0; i < repeat; ++i) {
    if (line == cold_owned || line == cold_warm_memory)
      if (auto cold = evict_from_page_cache(path_); !cold)
        return cold;
    if (i == 0)
      warm_free_memory(bytes_);
    const auto begin_ns = trace_now_ns();
    auto source = find_source({path_}, {.hold = hold});
    if (!source)
      return unexpected(source.error());
    auto answer = (*started)->load({.key = path_, .kind = model_kind::data, .source = std::move(*source)});
    seconds = static_cast<double>(trace_now_ns() - begin_ns) / 1e9;
    if (!answer)
      return unexpected(answer.error());
    answer->lease.reset();
    if (auto cleared = (*started)->clear(); !cleared)
      return cleared;
  }
  return add(line, seconds);
}

expected<void> bench_run::measure_loads() {
  if (auto done = measure_load(cold_owned, hold_choice::owned, 1); !done)
    return done;
  if (auto done = measure_load(cold_warm_memory, hold_choice::owned, 2); !done)
    return done;
  if (auto hot = bring_into_page_cache(path_); !hot)
    return hot;
  if (auto done = measure_load(hot_owned, hold_choice::owned, 1); !done)
    return done;
  return measure_load(hot_mapped, hold_choice::mapped, 1);
}

/// From the caller to a lease and back, of a model that is there.
expected<void> bench_run::measure_hits() {
  auto started = runtime::start();
  if (!started)
    return unexpected(started.error());
  for (unsigned i = 0; i < arguments_.hits; ++i) {
    const auto begin_ns = trace_now_ns();
    auto source = find_source({path_}, {.hold = hold_choice::mapped});
    if (!source)
      return unexpected(source.error());
    const auto answer = (*started)->load({.key = path_, .kind = model_kind::data, .source = std::move(*source)});
    if (!answer)
      return unexpected(answer.error());
    if (answer->hit)
      hits_.seconds.push_back(static_cast<double>(trace_now_ns() - begin_ns) / 1e9);
  }
  return {};
}

expected<void> bench_run::measure() {
  const auto file = model_file::open(path_);
  if (!file)
    return unexpected(file.error());
  bytes_ = file->size_bytes();
  const auto pool = arena_pool::make(~uint64_t{0}, 0);
  for (auto* memory : {&memory_, &other_}) {
    auto acquired = pool->acquire(bytes_);
    if (!acquired)
      return unexpected(acquired.error());
    *memory = std::move(*acquired);
  }
  if (arguments_.device.wanted()) {
    auto made = device_bench::make(arguments_.device, path_);
    if (!made)
      return unexpected(made.error());
    device_ = std::move(*made);
  }
  progress_lines lines;
  for (unsigned round = 0; round < arguments_.rounds; ++round) {
    lines.draw({"round " + std::to_string(round + 1) + " of " + std::to_string(arguments_.rounds)});
    if (auto done = measure_limits(); !done)
      return done;
    if (auto done = measure_loads(); !done)
      return done;
    if (device_)
      if (auto done = device_->measure([this](const char* line, double s) { results_[line].seconds.push_back(s); });
          !done)
        return done;
    if (ctx_.interrupted->requested())
      return unexpected(error{.code = errc::cancelled, .what = "the benchmark was stopped"});
  }
  return measure_hits();
}

/// What a load can at best take: the slower of what it waits for; 0 for what is a limit itself.
double bench_run::limit_seconds(const std::string& line) const {
  if (const auto limit = limit_of.find(line); limit != limit_of.end())
    return results_.at(limit->second).middle();
  if (!device_ || !results_.contains(device_bench::link_limit) || std::ranges::count(device_bench::lines, line) == 0 ||
      !device_bench::is_load(line))
    return 0;
  const auto link = results_.at(device_bench::link_limit).middle();
  return device_bench::reads_the_disk(line) ? std::max(link, results_.at(disk_limit).middle()) : link;
}

void bench_run::print() const {
  std::vector<const char*> order{disk_limit, cold_owned,        cold_warm_memory, copy_limit,
                                 hot_owned,  memory_limit_line, fault_limit,      hot_mapped};
  if (device_)
    order.insert(order.end(), std::begin(device_bench::lines), std::end(device_bench::lines));
  json rows = json::array();
  table t{{"what", "seconds", "least", "most", "GB/s", "of its limit"}};
  for (const auto* line : order) {
    const auto& s = results_.at(line);
    const auto limit = limit_seconds(line);
    const auto ratio = limit > 0 ? s.middle() / limit : 0.0;
    t.add({line, fixed(s.middle(), 3), fixed(s.least(), 3), fixed(s.most(), 3), human_rate(bytes_, s.middle()),
           ratio > 0 ? fixed(ratio, 2) + "x" : "-"});
    rows.push_back({{"what", line},
                    {"seconds", s.middle()},
                    {"seconds_each", s.seconds},
                    {"limit_ratio", ratio > 0 ? json(ratio) : json(nullptr)}});
  }
  if (arguments_.json)
    return print_json({{"file", path_},
                       {"bytes", bytes_},
                       {"rounds", arguments_.rounds},
                       {"lines", rows},
                       {"cache_hit_seconds", hits_.middle()}});
  std::printf("%s, %s, medians of %u rounds\n\n%s\ncache hit, caller to lease: %s microseconds (median of %zu)\n",
              path_.c_str(), human_bytes(bytes_).c_str(), arguments_.rounds, t.text().c_str(),
              fixed(hits_.middle() * 1e6, 1).c_str(), hits_.seconds.size());
  if (device_) {
    const auto overlapped = results_.at(device_bench::cold_load).middle();
    const auto disk = results_.at(disk_limit).middle(), link = results_.at(device_bench::link_limit).middle();
    std::printf("disk and link overlap: %s of the slower alone; one after the other would be %s\n",
                (fixed(overlapped / std::max(disk, link), 2) + "x").c_str(),
                (fixed((disk + link) / std::max(disk, link), 2) + "x").c_str());
  }
}

/// A file to measure with, removed again whatever happens.
class bench_file {
public:
  explicit bench_file(const std::string& folder)
      : path_((std::filesystem::path(folder) / "longshore-bench.safetensors").string()) {}
  ~bench_file() {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
  }
  bench_file(const bench_file&) = delete;
  bench_file& operator=(const bench_file&) = delete;

  expected<std::string> write(context& ctx) const {
    print_note("writing a file of 2.1 GB to measure with, " + path_);
    const auto model = named_layout("sd15");
    if (!model)
      return tl::unexpected(model.error());
    checkpoint_options options;
    options.progress = [&](uint64_t, uint64_t) { return !ctx.interrupted->requested(); };
    if (auto made = make_checkpoint(*model, path_, options); !made)
      return tl::unexpected(made.error());
    return path_;
  }

private:
  std::string path_;
};

int run_bench(const bench_arguments& arguments, context& ctx) {
  const bench_file temporary{arguments.folder};
  auto path = arguments.file.empty() ? temporary.write(ctx) : expected<std::string>{arguments.file};
  expected<void> done = path ? expected<void>{} : tl::unexpected(path.error());
  if (done) {
    bench_run run{arguments, ctx, *path};
    done = run.measure();
    if (done)
      run.print();
  }
  if (done)
    return exit_ok;
  print_error(done.error());
  return exit_code_of(done.error().code);
}

}  // namespace

void add_bench_command(CLI::App& app, context& ctx) {
  auto arguments = std::make_shared<bench_arguments>();
  auto* command = app.add_subcommand("bench", "Measure this machine's limits and how near a load comes to them");
  command->add_option("FILE", arguments->file,
                      "the file to measure with (default: one of 2.1 GB, written and removed)");
  command->add_option("--dir", arguments->folder, "where to write that file: the disk to measure");
  command->add_option("--rounds", arguments->rounds, "how often each is measured; medians are shown")
      ->check(CLI::Range(1U, 1000U));
  arguments->device.add_to(*command);
  command->add_flag("--json", arguments->json, "one JSON object on stdout, with every sample");
  add_bench_stream_command(*command, ctx);
  command->callback([arguments, command, &ctx] {
    if (command->get_subcommands().empty())
      ctx.run = [arguments, &ctx] { return run_bench(*arguments, ctx); };
  });
}

}  // namespace longshore
