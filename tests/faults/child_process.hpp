#pragma once
/// A program that a test starts: its output, its end.
///
/// Owns the process: killed and waited for at the end. Thread rule: the test's thread. Fails by std::runtime_error.

#include <functional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace longshore {

class child_process {
public:
  /// Runs `command`, whose stdout comes here. `prepare` runs in the new process before the program does, and may only
  /// make system calls; when it gives false, the process ends with status 126.
  explicit child_process(std::vector<std::string> command, const std::function<bool()>& prepare = [] { return true; });
  ~child_process();
  child_process(const child_process&) = delete;
  child_process& operator=(const child_process&) = delete;

  /// The next bytes of its stdout; empty once it is closed.
  std::string read_some();

  /// All that is left of its stdout.
  std::string read_all();

  void terminate();

  /// Its exit status, or 128 plus the signal that ended it.
  int wait();

private:
  pid_t pid_ = -1;
  int out_fd_ = -1;
  int status_ = -1;
};

}  // namespace longshore
