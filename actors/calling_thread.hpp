#pragma once
/// A thread from outside as an actor, for as long as it waits for an answer.
///
/// Owns the actor behind it, which ends with this. One thread: the one that made it. Like `caf::scoped_actor`, but its
/// mailbox carries the marks of actors/traced_actor.hpp, so that ThreadSanitizer knows which thread waits for which.

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <thread>

#include <caf/actor_system.hpp>
#include <caf/after.hpp>
#include <caf/blocking_actor.hpp>
#include <caf/make_actor.hpp>
#include <caf/scoped_execution_unit.hpp>

#include "actors/traced_actor.hpp"
#include "cache/error.hpp"

namespace longshore {

class calling_thread {
  class caller final : public caf::blocking_actor {
  public:
    using caf::blocking_actor::blocking_actor;
    using caf::blocking_actor::enqueue;

    const char* name() const override { return "calling_thread"; }

    void enqueue(caf::mailbox_element_ptr message, caf::execution_unit* unit) override {
      mark_release(this);
      caf::blocking_actor::enqueue(std::move(message), unit);
    }

    void await_data() override {
      yield_until_data();
      caf::blocking_actor::await_data();
      mark_acquire(this);
    }

    bool await_data(timeout_type timeout) override {
      yield_until_data();
      const bool came = caf::blocking_actor::await_data(timeout);
      mark_acquire(this);
      return came;
    }

  private:
    /// What the cache has comes within microseconds; a thread that fell asleep meanwhile needs longer to wake, most of
    /// all on a virtual machine. Bounded: whoever waits for a disk shall sleep.
    void yield_until_data() {
      for (; yields_ < 100 && mailbox().empty(); ++yields_)
        std::this_thread::yield();
    }

    int yields_ = 0;  // of all waits together: one that is cut in slices shall sleep in the later ones
  };

public:
  explicit calling_thread(caf::actor_system& system) : unit_(&system) {
    caf::actor_config config{&unit_};
    actor_ = caf::make_actor<caller, caf::strong_actor_ptr>(system.next_actor_id(), system.node(), &system, config);
    get()->register_at_system();
  }
  ~calling_thread() { get()->cleanup(caf::exit_reason::normal, &unit_); }
  calling_thread(const calling_thread&) = delete;
  calling_thread& operator=(const calling_thread&) = delete;

  caf::blocking_actor* operator->() const { return get(); }

private:
  caller* get() const { return static_cast<caller*>(caf::actor_cast<caf::abstract_actor*>(actor_)); }

  caf::scoped_execution_unit unit_;
  caf::strong_actor_ptr actor_;
};

/// Asked every so often whether a wait shall go on.
struct wait_watch {
  std::function<bool()> goes_on{};  ///< none: until the answer or the deadline
  std::chrono::milliseconds interval{20};
};

/// What an actor answers, or `stopped` where nothing comes before the deadline, or `cancelled` where the wait is not to
/// go on: what comes later is dropped.
template <class Answer, class Message>
expected<Answer> ask(caf::actor_system& system, const caf::actor& whom, std::chrono::milliseconds timeout,
                     const Message& message, const wait_watch& watch = {}) {
  const auto no_answer = [](const std::string& why) {
    return unexpected(error{.code = errc::stopped, .what = "the runtime gave no answer: " + why});
  };
  const calling_thread self{system};
  // The wait has the deadline, not the request: that would wake the thread of CAF's clock for every call.
  const auto asked = self->request(whom, caf::infinite, message);
  expected<Answer> result = tl::unexpected(error{});
  const auto slice = watch.goes_on ? std::min(timeout, watch.interval) : timeout;
  caf::blocking_actor::accept_one_cond one;
  for (bool over = false; !over; timeout -= slice) {
    over = true;
    self->varargs_receive(
        one, asked.id(), [&](const Answer& answer) { result = answer; },
        [&](const caf::error& lost) { result = no_answer(to_string(lost)); },
        caf::after(slice) >>
            [&] {
              if (timeout <= slice)
                result = no_answer("nothing came before the deadline");
              else if (!watch.goes_on())
                result = unexpected(error{.code = errc::cancelled, .what = "the wait was given up"});
              else
                over = false;
            });
  }
  return result;
}

}  // namespace longshore
