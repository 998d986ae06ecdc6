#include "actors/traced_actor.hpp"

#include <cstdlib>
#include <memory>
#include <unordered_map>

#include <cxxabi.h>

namespace longshore {
namespace {

std::string short_name(const std::type_info& type) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> full{abi::__cxa_demangle(type.name(), nullptr, nullptr, &status),
                                                         &std::free};
  std::string text = status == 0 ? full.get() : type.name();
  if (const auto colon = text.rfind("::"); colon != std::string::npos && text.find('<') == std::string::npos)
    text.erase(0, colon + 2);
  return text;
}

}  // namespace

trace_name_id message_name(const caf::type_erased_tuple& content) {
  thread_local std::unordered_map<const void*, trace_name_id>
      known;  // by type, so that the lock is taken once for each
  const auto [number, type] = content.empty() ? caf::rtti_pair{0, nullptr} : content.type(0);
  const void* key = type != nullptr ? static_cast<const void*>(type) : reinterpret_cast<const void*>(uintptr_t{number});
  auto [found, is_new] = known.try_emplace(key, trace_name_id{0});
  if (is_new) {
    const auto text = type != nullptr ? short_name(*type) : "caf message " + std::to_string(number);
    found->second = tracer_rings::process().names().intern(text);
  }
  return found->second;
}

message_span::message_span(const stamped_message& message, uint32_t actor)
    : outer_span_(current_span), outer_bytes_(span_bytes) {
  // All of it now: the handler may move the content and the sender out of the message.
  record_.kind = trace_kind::message;
  record_.start_ns = trace_now_ns();
  record_.waited_ns = record_.start_ns - message.sent_ns;
  record_.span = next_span();
  record_.cause = message.cause;
  record_.detail = message.sender ? message.sender->id() : 0;
  record_.subject = actor;
  record_.name = message_name(message.content());
  current_span = record_.span;
  span_bytes = 0;
}

message_span::~message_span() {
  record_.duration_ns = trace_now_ns() - record_.start_ns;
  record_.value = span_bytes;
  current_span = outer_span_;
  span_bytes = outer_bytes_;
  tracer_rings::process().put(record_);
}

}  // namespace longshore
