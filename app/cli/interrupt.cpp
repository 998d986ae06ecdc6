#include "app/cli/interrupt.hpp"

#include <csignal>
#include <cstdio>

#include <pthread.h>
#include <unistd.h>

#include "app/cli/exit_code.hpp"

namespace longshore {
namespace {

sigset_t handled_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGINT, SIGTERM, SIGUSR1})  // SIGUSR1, sent to the thread alone, ends it
    sigaddset(&signals, number);
  return signals;
}

}  // namespace

interrupt::interrupt() {
  const auto signals = handled_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  thread_ = std::thread([this] { wait_for_signals(); });
}

interrupt::~interrupt() {
  {
    const std::lock_guard guard{mutex_};
    ending_ = true;
  }
  pthread_kill(thread_.native_handle(), SIGUSR1);
  thread_.join();
}

bool interrupt::requested() const {
  const std::lock_guard guard{mutex_};
  return requested_;
}

void interrupt::on_request(std::function<void()> callback) {
  const std::lock_guard guard{mutex_};
  callback_ = std::move(callback);
  if (requested_ && callback_)
    callback_();
}

void interrupt::wait_for_signals() {
  const auto signals = handled_signals();
  while (true) {
    int number = 0;
    sigwait(&signals, &number);
    const std::lock_guard guard{mutex_};
    if (ending_)
      return;
    if (number == SIGUSR1)
      continue;
    if (requested_)
      _exit(exit_interrupted);
    requested_ = true;
    std::fputs("\nlongshore: stopping; press Ctrl-C again to end at once\n", stderr);
    if (callback_)
      callback_();
  }
}

}  // namespace longshore
