#pragma once
/// Ctrl-C and SIGTERM, once for the program: the first asks for a clean stop, the second ends it at once.
///
/// Owns a thread that waits for the signals, which all other threads block; so it is made before any other thread.
/// Thread rule: `requested` from any thread, `on_request` from one.

#include <functional>
#include <mutex>
#include <thread>

namespace longshore {

class interrupt {
public:
  interrupt();
  ~interrupt();
  interrupt(const interrupt&) = delete;
  interrupt& operator=(const interrupt&) = delete;

  bool requested() const;

  /// Calls this on a request, at once if there was one before; null ends it. The call runs on the signals' thread.
  void on_request(std::function<void()> callback);

private:
  void wait_for_signals();

  mutable std::mutex mutex_;
  std::function<void()> callback_;
  bool requested_ = false;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace longshore
