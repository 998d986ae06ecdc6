#pragma once
/// The base of every actor here: each message it handles leaves a span in the trace, with its sender and its cause.
///
/// Costs one load of a flag a message while tracing is off. Also marks, for ThreadSanitizer, the orderings that CAF's
/// mailboxes make (the distribution's libcaf_core is not instrumented, and would look like a race at every message).
/// Thread rule: CAF's. A span is what the handling thread works for: what it sends, asks or reads has it as its cause.

#include <typeinfo>

#include <caf/event_based_actor.hpp>
#include <caf/invoke_message_result.hpp>
#include <caf/mailbox_element.hpp>
#include <caf/stateful_actor.hpp>

#include "io/trace_ring.hpp"

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace longshore {

inline void mark_release([[maybe_unused]] void* what) {
#if defined(__SANITIZE_THREAD__)
  __tsan_release(what);
#endif
}

inline void mark_acquire([[maybe_unused]] void* what) {
#if defined(__SANITIZE_THREAD__)
  __tsan_acquire(what);
#endif
}

/// Bytes that the message being handled is about: shown on its span. The calling thread's own.
inline thread_local uint64_t span_bytes = 0;

/// A message's name in the trace, from its first element: a struct's name without its namespace.
trace_name_id message_name(const caf::type_erased_tuple& content);

/// A message in its envelope: when it was sent, and on behalf of which span.
class stamped_message final : public caf::mailbox_element {
public:
  explicit stamped_message(caf::mailbox_element_ptr message)
      : mailbox_element(std::move(message->sender), message->mid, std::move(message->stages)),
        sent_ns(trace_now_ns()),
        cause(current_span),
        message_(std::move(message)) {}

  caf::type_erased_tuple& content() override { return message_->content(); }
  const caf::type_erased_tuple& content() const override {
    return static_cast<const caf::mailbox_element&>(*message_).content();
  }
  caf::message move_content_to_message() override { return message_->move_content_to_message(); }
  caf::message copy_content_to_message() const override { return message_->copy_content_to_message(); }

  const uint64_t sent_ns;
  const trace_span_id cause;

private:
  caf::mailbox_element_ptr message_;
};

/// Opens a span for one message; closing it, also when the handler throws, leaves the record.
class message_span {
public:
  message_span(const stamped_message& message, uint32_t actor);
  ~message_span();
  message_span(const message_span&) = delete;
  message_span& operator=(const message_span&) = delete;

private:
  trace_record record_;
  trace_span_id outer_span_;
  uint64_t outer_bytes_;
};

/// Without `Spans` there are only the marks for ThreadSanitizer.
template <class Base, bool Spans = true>
class traced : public Base {
public:
  using Base::Base;
  using Base::consume;
  using Base::enqueue;

  void enqueue(caf::mailbox_element_ptr message, caf::execution_unit* unit) override {
    if (Spans && tracer_rings::enabled() && !message->mid.is_stream_message())
      message.reset(new stamped_message(std::move(message)));
    mark_release(message.get());
    Base::enqueue(std::move(message), unit);
  }

  caf::invoke_message_result consume(caf::mailbox_element& message) override {
    mark_acquire(&message);
    const release_at_end marks{this};
    const auto* stamped = dynamic_cast<const stamped_message*>(&message);
    if (stamped == nullptr)
      return Base::consume(message);
    const message_span span{*stamped, static_cast<uint32_t>(this->id())};
    return Base::consume(message);
  }

  void launch(caf::execution_unit* unit, bool lazy, bool hide) override {
    mark_release(this);
    Base::launch(unit, lazy, hide);
  }

  /// Resuming itself opens the mailbox to the next thread, so the release is made after each message instead.
  caf::resumable::resume_result resume(caf::execution_unit* unit, size_t max_throughput) override {
    mark_acquire(this);
    return Base::resume(unit, max_throughput);
  }

  void initialize() override {
    tracer_rings::process().names().name_subject(trace_subject::actor, static_cast<uint32_t>(this->id()), this->name());
    Base::initialize();
    mark_release(this);
  }

  void on_destroy() override {
    mark_acquire(this);
    Base::on_destroy();
  }

private:
  struct release_at_end {
    void* actor;
    ~release_at_end() { mark_release(actor); }
  };
};

/// An actor with a state of type `State`, which gives it its name.
template <class State>
using traced_actor = caf::stateful_actor<State, traced<caf::event_based_actor>>;

/// The same, and leaves no spans.
template <class State>
using untraced_actor = caf::stateful_actor<State, traced<caf::event_based_actor, false>>;

}  // namespace longshore
