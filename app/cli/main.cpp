/// The `longshore` program: understands the command line and runs one command.

#include <cstdio>

#include "app/cli/commands.hpp"
#include "app/cli/exit_code.hpp"

namespace {

constexpr auto footer = R"(
Exit codes: 0 done; 1 failed; 2 wrong command line or configuration; 3 not found; 4 broken file;
5 reading failed, the file changed, or this machine cannot do it; 6 does not fit the memory limit; 7 bytes differ from their digests;
130 interrupted.

Begin with:  longshore preload               the models of preload_config.json, into the cache
             longshore load FILE             one file, and how fast it came
             longshore inspect FILE          what is in it, without reading its data)";

}  // namespace

int main(int argc, char** argv) {
  longshore::interrupt interrupted;  // before any other thread, so that all of them leave the signals to it
  longshore::context ctx{.interrupted = &interrupted, .run = {}};
  CLI::App app{"Longshore loads model weights from disk into a shared cache, as fast as the disk allows."};
  app.name("longshore");
  app.footer(footer);
  app.set_version_flag("--version", LONGSHORE_VERSION);
  app.require_subcommand(0, 1);
  longshore::add_preload_command(app, ctx);
  longshore::add_load_command(app, ctx);
  longshore::add_inspect_command(app, ctx);
  longshore::add_verify_command(app, ctx);
  longshore::add_bench_command(app, ctx);
  longshore::add_make_checkpoint_command(app, ctx);
  longshore::add_simulate_command(app, ctx);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? longshore::exit_ok : longshore::exit_usage;
  }
  if (!ctx.run) {
    std::fputs(app.help().c_str(), stdout);
    return longshore::exit_ok;
  }
  return ctx.run();
}
