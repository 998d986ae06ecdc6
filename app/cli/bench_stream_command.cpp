/// `longshore bench stream`: budgets and links swept, each step beside the slower of compute and link.

#include <algorithm>
#include <map>
#include <memory>

#include "app/cli/commands.hpp"
#include "app/cli/exit_code.hpp"
#include "app/cli/machine_limits.hpp"
#include "app/cli/median.hpp"
#include "app/cli/one_of.hpp"
#include "app/cli/stream_bench.hpp"
#include "app/cli/terminal.hpp"
#include "io/arena.hpp"
#include "io/model_file.hpp"

namespace longshore {
namespace {

struct stream_arguments {
  stream_case each;
  std::vector<double> budgets{25, 50, 75, 100};
  std::vector<double> links{0.25, 1, 4};
  double compute_gb_per_s = 1;
  bool json = false;
};

const std::map<std::string, stream_origin> origins{{"pinned", stream_origin::pinned},
                                                   {"owned", stream_origin::owned},
                                                   {"mapped", stream_origin::mapped},
                                                   {"disk", stream_origin::disk}};

/// What bytes come over: the link, or the disk where that is slower.
struct way {
  double link_ratio = 0;
  double bytes_per_s = 0;
};

struct row {
  double budget = 0;
  way over;
  stream_result result;

  double bound_of(const stream_pass& pass) const {
    return std::max(result.compute_seconds, static_cast<double>(pass.moved_bytes) / over.bytes_per_s);
  }
  std::vector<double> each(const std::function<double(const stream_pass&)>& figure) const {
    std::vector<double> figures;
    for (const auto& pass : result.passes)
      figures.push_back(figure(pass));
    return figures;
  }
  std::vector<double> ratios() const {
    return each([this](const stream_pass& pass) { return pass.seconds / bound_of(pass); });
  }
};

std::string waits_of(const stream_status& status) {
  std::string text;
  for (size_t i = 1; i < status.waited_ns.size(); ++i)
    if (status.waited_ns[i] > 0)
      text += (text.empty() ? "" : ", ") + std::string{name(static_cast<layer_wait>(i))} + " " +
              fixed(static_cast<double>(status.waited_ns[i]) / 1e9, 2) + " s";
  return text.empty() ? "-" : text;
}

json as_json(const row& r) {
  json passes = json::array();
  for (const auto& pass : r.result.passes)
    passes.push_back(
        {{"seconds", pass.seconds}, {"moved_bytes", pass.moved_bytes}, {"bound_seconds", r.bound_of(pass)}});
  json waits;
  for (size_t i = 1; i < r.result.status.waited_ns.size(); ++i)
    waits[name(static_cast<layer_wait>(i))] = static_cast<double>(r.result.status.waited_ns[i]) / 1e9;
  return {{"budget_percent", r.budget},
          {"link_ratio", r.over.link_ratio},
          {"bytes_per_s", r.over.bytes_per_s},
          {"model_bytes", r.result.model_bytes},
          {"budget_bytes", r.result.budget_bytes},
          {"device_peak_bytes", r.result.status.device_peak_bytes},
          {"compute_seconds", r.result.compute_seconds},
          {"passes", passes},
          {"ratio", median(r.ratios())},
          {"waited_seconds", waits}};
}

void print(const std::vector<row>& rows, const stream_arguments& arguments) {
  if (arguments.json) {
    json all = json::array();
    for (const auto& r : rows)
      all.push_back(as_json(r));
    return print_json({{"file", arguments.each.path}, {"layers", rows.front().result.layers}, {"steps", all}});
  }
  table t{{"budget", "link", "step s", "bound s", "ratio", "least", "most", "moved a step", "waits"}};
  for (const auto& r : rows) {
    auto ratios = r.ratios();
    std::sort(ratios.begin(), ratios.end());
    t.add({fixed(r.budget, 0) + " %", fixed(r.over.link_ratio, 2) + "x",
           fixed(median(r.each([](const auto& p) { return p.seconds; })), 3),
           fixed(median(r.each([&](const auto& p) { return r.bound_of(p); })), 3), fixed(median(ratios), 3),
           fixed(ratios.front(), 3), fixed(ratios.back(), 3),
           human_bytes(
               static_cast<uint64_t>(median(r.each([](const auto& p) { return static_cast<double>(p.moved_bytes); })))),
           waits_of(r.result.status)});
  }
  std::printf(
      "%s, %s in %zu layers; compute takes %s s a step; medians of %u steps\n"
      "bound: the slower of compute and the bytes moved over the link%s\n\n%s",
      arguments.each.path.c_str(), human_bytes(rows.front().result.model_bytes).c_str(), rows.front().result.layers,
      fixed(rows.front().result.compute_seconds, 3).c_str(), arguments.each.passes,
      arguments.each.origin == stream_origin::disk ? ", or from the disk where that is slower" : "", t.text().c_str());
}

/// Into little memory, since the bench may have less than the model's size.
expected<double> disk_bytes_per_s(const std::string& path) {
  const auto file = model_file::open(path);
  if (!file)
    return tl::unexpected(file.error());
  auto memory = arena_pool::make(~uint64_t{0}, 0)->acquire(256 << 20);
  if (!memory)
    return tl::unexpected(memory.error());
  if (auto cold = evict_from_page_cache(path); !cold)
    return tl::unexpected(cold.error());
  std::fill_n(memory->data(), memory->size_bytes(), std::byte{0});
  return time_disk_direct(path, {memory->data(), memory->size_bytes()}).map([&](double seconds) {
    return static_cast<double>(file->size_bytes()) / seconds;
  });
}

expected<std::vector<row>> sweep(const stream_arguments& arguments, context& ctx) {
  std::vector<row> rows;
  progress_lines lines;
  const auto compute = arguments.compute_gb_per_s * 1e9;
  for (const double link : arguments.links)
    for (const double budget : arguments.budgets) {
      lines.draw({"budget " + fixed(budget, 0) + " %, link " + fixed(link, 2) + "x, " +
                  std::to_string(rows.size() + 1) + " of " +
                  std::to_string(arguments.links.size() * arguments.budgets.size())});
      way over{.link_ratio = link, .bytes_per_s = link * compute};
      if (arguments.each.origin == stream_origin::disk) {
        const auto disk = disk_bytes_per_s(arguments.each.path);
        if (!disk)
          return tl::unexpected(disk.error());
        over.bytes_per_s = std::min(over.bytes_per_s, *disk);
      }
      auto one = arguments.each;
      one.budget_share = budget / 100;
      one.compute_bytes_per_s = compute;
      one.link_bytes_per_s = link * compute;
      auto result = measure_stream(one, [&] { return !ctx.interrupted->requested(); });
      if (!result)
        return tl::unexpected(result.error());
      rows.push_back({.budget = budget, .over = over, .result = std::move(*result)});
    }
  return rows;
}

int run_stream(const stream_arguments& arguments, context& ctx) {
  const auto rows = sweep(arguments, ctx);
  if (!rows) {
    print_error(rows.error());
    return exit_code_of(rows.error().code);
  }
  print(*rows, arguments);
  return exit_ok;
}

}  // namespace

void add_bench_stream_command(CLI::App& bench, context& ctx) {
  auto arguments = std::make_shared<stream_arguments>();
  auto* command =
      bench.add_subcommand("stream", "Steps of a model that streams through a device, beside the bound of each");
  command->add_option("FILE", arguments->each.path, "the model")->required();
  command->add_option("--budget", arguments->budgets, "device memory, in percent of the model: 25,50")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(0.1, 1000.0))
      ->capture_default_str();
  command->add_option("--link", arguments->links, "rates of the link, in times of what compute uses: 0.25,1")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(0.001, 1000.0))
      ->capture_default_str();
  command->add_option("--compute", arguments->compute_gb_per_s, "weights that compute uses up a second, in GB")
      ->check(CLI::Range(0.001, 1000.0))
      ->capture_default_str();
  command
      ->add_option("--layers", arguments->each.layers,
                   "how many layers of like size the file is cut into; 0: the model's own blocks")
      ->check(CLI::Range(0, 100000))
      ->capture_default_str();
  command->add_option("--passes", arguments->each.passes, "steps that are measured, after two that are not")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command
      ->add_option("--from", arguments->each.origin,
                   "where layers come from: a copy in host memory (pinned, owned, mapped), or the disk")
      ->transform(one_of(origins))
      ->default_str("pinned");
  command->add_option("--trace", arguments->each.trace_path, "a trace of the last of the sweep, for ui.perfetto.dev");
  command->add_flag("--json", arguments->json, "one JSON object on stdout, with every step");
  command->callback([arguments, &ctx] { ctx.run = [arguments, &ctx] { return run_stream(*arguments, ctx); }; });
}

}  // namespace longshore
