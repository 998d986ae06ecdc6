#pragma once
/// A runtime for one command: its options from the command line, its progress on the terminal, its end on Ctrl-C.
///
/// Owns the runtime. Thread rule: main's thread; progress arrives from an actor's. Failure: as runtime's.

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "actors/runtime.hpp"
#include "app/cli/commands.hpp"
#include "app/cli/terminal.hpp"

namespace longshore {

/// What `preload`, `load` and `bench` share.
struct runtime_arguments {
  runtime_options options;
  hold_choice hold = hold_choice::automatic;
  bool json = false;

  /// Adds --hold, --engine, --page-cache, --leave-in-cache, --host-limit, --trace, --json.
  void add_to(CLI::App& command, hold_choice default_hold);
};

class runtime_session {
public:
  static expected<std::unique_ptr<runtime_session>> start(const runtime_arguments& arguments, context& ctx);
  ~runtime_session();
  runtime_session(const runtime_session&) = delete;
  runtime_session& operator=(const runtime_session&) = delete;

  runtime& loader() { return *runtime_; }

  /// Ends the progress lines and the runtime; writes the trace.
  expected<void> finish();

private:
  explicit runtime_session(interrupt& interrupted) : interrupted_(interrupted) {}
  void show(const load_progress& progress);

  interrupt& interrupted_;
  std::mutex mutex_;
  std::map<uint64_t, load_progress> loads_;
  std::map<uint64_t, uint64_t> began_ns_;
  progress_lines lines_;
  std::unique_ptr<runtime> runtime_;
};

}  // namespace longshore
