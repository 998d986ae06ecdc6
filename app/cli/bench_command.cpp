#include "app/cli/commands.hpp"
namespace longshore { void add_bench_command(CLI::App&, context&) {} }
