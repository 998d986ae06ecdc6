/// `longshore simulate`: a scenario in virtual time, to see what a budget does before buying memory.

#include <fstream>
#include <sstream>

#include "app/cli/commands.hpp"
#include "app/cli/exit_code.hpp"
#include "app/cli/shared_file.hpp"
#include "app/cli/terminal.hpp"
#include "app/simulate/simulation.hpp"
#include "app/simulate/simulation_report.hpp"
#include "app/simulate/simulation_trace.hpp"
#include "app/simulate/timeline.hpp"

namespace longshore {
namespace {

constexpr auto footer = R"(
A scenario says what the machine has, which models there are, and who asks for them when:

  {"machine": {"host_limit": "12 GiB", "device_capacity": "24 GiB", "pin_budget": "256 MiB",
               "disk": {"gb_per_s": 3.5}, "link": {"gb_per_s": 12, "latency_us": 10}},
   "models": [{"name": "sdxl", "layout": "sdxl"},
              {"name": "large", "tensors": [{"count": 200, "bytes": 4096}, {"count": 40, "bytes": "500 MB"}]}],
   "steps": [{"load": "sdxl", "hold": "device", "use_s": 4},
             {"load": "large", "hold": "device"}]}

A step begins once the one before it is done; "at_s" and "after" make it begin otherwise. All fields stand in
app/scenarios/README.md; the scenarios there can be called by their names.

Exit codes: 0 every step got its model; else that of the first refusal, such as 6 for a limit; 2 wrong scenario.)";

struct simulate_arguments {
  std::string scenario;
  std::string trace_path;
  bool json = false;
};

expected<scenario> read_scenario(const std::string& named) {
  const auto path = named.ends_with(".json") ? named : shared_file("scenarios", named + ".json").value_or(named);
  std::ifstream in{path, std::ios::binary};
  std::stringstream text;
  text << in.rdbuf();
  if (!in)
    return unexpected(error{.code = errc::not_found, .what = "there is no such scenario", .path = path});
  return parse_scenario(text.str(), path);
}

int exit_code_of(const simulation_result& result) {
  for (const auto& step : result.steps)
    if (step.reason.code != errc{})
      return longshore::exit_code_of(step.reason.code);
  return exit_ok;
}

int run_simulate(const simulate_arguments& arguments, context& ctx) {
  const auto what = read_scenario(arguments.scenario);
  const auto result = what ? simulate(*what, [&] { return ctx.interrupted->requested(); })
                           : expected<simulation_result>{tl::unexpected(what.error())};
  if (!result) {
    print_error(result.error());
    return longshore::exit_code_of(result.error().code);
  }
  const auto traced =
      arguments.trace_path.empty() ? expected<void>{} : write_simulation_trace(*what, *result, arguments.trace_path);
  if (!traced) {
    print_error(traced.error());
    return longshore::exit_code_of(traced.error().code);
  }
  if (arguments.json)
    print_json(simulation_json(*what, *result));
  else
    std::printf("%s\n%s", timeline_text(*what, *result).c_str(), totals_text(*what, *result).c_str());
  return exit_code_of(*result);
}

}  // namespace

void add_simulate_command(CLI::App& app, context& ctx) {
  auto arguments = std::make_shared<simulate_arguments>();
  auto* command = app.add_subcommand("simulate", "Replay models, budgets and speeds in virtual time");
  command->footer(footer);
  command->add_option("SCENARIO", arguments->scenario, "a scenario's .json, or the name of one that comes along")
      ->required();
  command->add_option("--trace", arguments->trace_path,
                      "write what happened, in virtual time, to this file, for ui.perfetto.dev");
  command->add_flag("--json", arguments->json, "one JSON object on stdout");
  command->callback([arguments, &ctx] { ctx.run = [arguments, &ctx] { return run_simulate(*arguments, ctx); }; });
}

}  // namespace longshore
