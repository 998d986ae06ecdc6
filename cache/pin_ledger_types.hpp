#pragma once
/// What goes into the pin ledger and what comes out: classes, accounts, claims, actions, limits.
///
/// Owns nothing. Plain values, any thread. An action is an order to an owner of memory or the answer to a claim;
/// whoever drives the ledger carries them out in the order given. Sizes are bytes, already rounded up to what is really
/// taken.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "cache/error.hpp"

namespace longshore {

using account_id = uint64_t;  ///< one owner of memory; never used twice
using pin_ticket = uint64_t;  ///< one claim that waits for its answer; chosen by the caller, never used twice

/// What memory is for, from most to least important. A claim takes only from classes below its own.
enum class pin_class : uint8_t {
  stream_staging,
  active_intermediate,
  active_model,
  inactive_model,
  inactive_intermediate,
};

/// "active model" and so on, as it stands in messages for a person.
std::string_view name(pin_class c);

/// The two limits of the ledger.
enum class budget : uint8_t { host, pinned };

/// An amount under both limits. Pinned bytes are host bytes too, and counted in both numbers.
struct memory_bytes {
  uint64_t host_bytes = 0;
  uint64_t pinned_bytes = 0;

  uint64_t& of(budget which) { return which == budget::host ? host_bytes : pinned_bytes; }
  uint64_t of(budget which) const { return which == budget::host ? host_bytes : pinned_bytes; }
  friend bool operator==(const memory_bytes&, const memory_bytes&) = default;
};

struct pin_limits {
  uint64_t host_limit_bytes = 0;
  uint64_t pin_limit_bytes = 0;                     ///< 0 does without pinning: see `pin_ledger::request`
  uint64_t hysteresis_bytes = uint64_t{128} << 20;  ///< taken beyond the shortfall, so that evictions are few and large
  size_t max_accounts = 65536;                      ///< more are `overloaded`
  size_t max_waiting = 4096;                        ///< claims that wait; more are `overloaded`
  size_t max_named_holders = 8;                     ///< how many holders a refusal names one by one
};

/// Who an account is. Its last use is the moment it is opened.
struct account_spec {
  std::string name;  ///< for a person, in refusals and status displays
  pin_class cls{};
  bool leased = false;         ///< the host copy is never to be freed; its pins may be taken all the same
  uint64_t segment_bytes = 1;  ///< what it unpins at a time; unpinning is asked for in whole segments
};

/// A wish for more memory: host bytes, pins of host bytes, or both together (pinned bytes of new host bytes).
struct pin_claim {
  pin_ticket ticket = 0;
  account_id account = 0;
  memory_bytes wanted{};
  /// Wait until the deadline, rather than be refused at once, while what is in the way is held by those from whom
  /// nothing may be taken: they may give it up by themselves.
  bool patient = false;
};

/// The answer to a claim: the account may take this much now.
struct pin_grant {
  pin_ticket ticket;
  account_id account;
  memory_bytes granted;
};

/// The other answer to a claim.
struct pin_refusal {
  pin_ticket ticket;
  error reason;
};

enum class relief_kind : uint8_t {
  unpin,  ///< give up pins and keep the host copy
  free,   ///< give up all host bytes, and their pins with them: half a model is of no use to anybody
};

/// The account's owner shall give back this much more than it was asked for so far, as soon as nothing uses it, and
/// say `relieved` when it is really free. It may give more, give in parts, or say `declined`.
struct ask_back {
  account_id account;
  relief_kind kind;
  uint64_t bytes;
};

/// The account has become too important: what it was asked for and has not given yet, it may keep.
struct let_off {
  account_id account;
};

using pin_action = std::variant<pin_grant, pin_refusal, ask_back, let_off>;
using pin_actions = std::vector<pin_action>;

/// What a status display shows of an account.
struct account_info {
  account_id account;
  account_spec spec;
  memory_bytes held;
  memory_bytes asked_back;  ///< the part of it that is to come free: asked for, or left by an owner that is gone
  bool silent;              ///< let a deadline pass without giving what it was asked for
  bool closed;              ///< its owner is gone
  uint64_t last_use;        ///< a counter, not a time: larger is later
};

}  // namespace longshore
