#pragma once
/// What a forked child must not free: that would wait for threads which are the parent's.
///
/// Owns nothing. Pure but for the process's number; any thread; cannot fail.

#include <array>
#include <cstddef>
#include <memory>
#include <new>
#include <utility>

#include <sys/types.h>
#include <unistd.h>

namespace longshore::python {

/// Never freed, from now on: one of its counts is never given back.
template <class T>
void leak(const std::shared_ptr<T>& kept) noexcept {
  alignas(std::shared_ptr<T>) std::array<std::byte, sizeof(std::shared_ptr<T>)> room;
  new (room.data()) std::shared_ptr<T>(kept);
}

/// The same thing, given back in this process alone.
template <class T>
std::shared_ptr<T> guarded(std::shared_ptr<T> kept, pid_t process) {
  auto* inner = kept.get();
  return {inner, [kept = std::move(kept), process](T*) {
            if (getpid() != process)
              leak(kept);
          }};
}

}  // namespace longshore::python
