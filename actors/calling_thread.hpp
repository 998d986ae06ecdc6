#pragma once
/// A thread from outside as an actor, for as long as it waits for an answer.
///
/// Owns the actor behind it, which ends with this. One thread: the one that made it. Like `caf::scoped_actor`, but its
/// mailbox carries the marks of actors/traced_actor.hpp, so that ThreadSanitizer knows which thread waits for which.

#include <thread>

#include <caf/actor_system.hpp>
#include <caf/blocking_actor.hpp>
#include <caf/make_actor.hpp>
#include <caf/scoped_execution_unit.hpp>

#include "actors/traced_actor.hpp"

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
      for (int i = 0; i < 100 && mailbox().empty(); ++i)
        std::this_thread::yield();
    }
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

}  // namespace longshore
