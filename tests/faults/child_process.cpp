#include "tests/faults/child_process.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <stdexcept>

namespace longshore {

child_process::child_process(std::vector<std::string> command, const std::function<bool()>& prepare) {
  std::vector<char*> arguments;
  for (auto& word : command)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  int pipe_fds[2];
  if (::pipe2(pipe_fds, O_CLOEXEC) != 0)
    throw std::runtime_error("cannot make a pipe");
  pid_ = ::fork();
  if (pid_ == 0) {
    ::dup2(pipe_fds[1], STDOUT_FILENO);
    if (prepare())
      ::execv(arguments[0], arguments.data());
    ::_exit(126);
  }
  ::close(pipe_fds[1]);
  out_fd_ = pipe_fds[0];
  if (pid_ < 0)
    throw std::runtime_error("cannot start " + command.front());
}

child_process::~child_process() {
  if (status_ < 0) {
    ::kill(pid_, SIGKILL);
    wait();
  }
  ::close(out_fd_);
}

std::string child_process::read_some() {
  std::array<char, 65'536> buffer{};
  const auto n = ::read(out_fd_, buffer.data(), buffer.size());
  return {buffer.data(), n > 0 ? static_cast<size_t>(n) : 0};
}

std::string child_process::read_all() {
  std::string all;
  for (auto some = read_some(); !some.empty(); some = read_some())
    all += some;
  return all;
}

void child_process::terminate() { ::kill(pid_, SIGTERM); }

int child_process::wait() {
  int status = 0;
  while (status_ < 0 && ::waitpid(pid_, &status, 0) == pid_)
    status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return status_;
}

}  // namespace longshore
