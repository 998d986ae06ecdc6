#pragma once
/// The commands of the program. Each adds itself to the command line; when it is chosen, `context::run` is set to what
/// it does, which main runs after the whole line was understood. Thread rule: main's thread.

#include <functional>

#include <CLI/CLI.hpp>

#include "app/cli/interrupt.hpp"

namespace longshore {

struct context {
  interrupt* interrupted = nullptr;
  std::function<int()> run;  ///< gives the exit code
};

void add_preload_command(CLI::App& app, context& ctx);
void add_load_command(CLI::App& app, context& ctx);
void add_inspect_command(CLI::App& app, context& ctx);
void add_verify_command(CLI::App& app, context& ctx);
void add_bench_command(CLI::App& app, context& ctx);
void add_bench_stream_command(CLI::App& bench, context& ctx);
void add_make_checkpoint_command(CLI::App& app, context& ctx);
void add_simulate_command(CLI::App& app, context& ctx);

}  // namespace longshore
