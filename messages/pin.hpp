#pragma once
/// Between owners of memory and the pin arbiter: requests, grants, pressure and relief.
///
/// An owner opens an account, asks for memory on it, and holds each grant as long as the memory that it stands for.
/// Relief is no message of the owner's own: it is the end of a `pin_hold`, which comes also when the owner is killed.
/// `pressure` asks an owner for some of it back; it ends holds as soon as nothing uses them, or says `decline`.

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "cache/error.hpp"
#include "cache/pin_ledger_types.hpp"
#include "messages/local_message.hpp"
#include "messages/pin_hold.hpp"

namespace longshore {

/// The sender wants an account of its own; pressure on it goes to the sender, and it is closed when the sender ends.
/// Answered by `account_opened`.
struct open_account {
  account_spec spec;
};

struct account_opened {
  account_id account = 0;
  error reason{};  ///< code 0: opened
};

/// The owner needs its account no longer. What it still holds counts until it ends.
struct close_account {
  account_id account = 0;
};

/// Asks for memory. Answered by `pin_answer`, at the latest when the deadline has passed.
struct pin_request {
  account_id account = 0;
  memory_bytes wanted{};
  bool patient = false;                      ///< see pin_claim::patient
  std::shared_ptr<const pin_hold> within{};  ///< for pins alone: the grant of the host bytes that they pin
  std::chrono::milliseconds deadline = std::chrono::seconds{30};
};

/// The memory, or the reason why there is none. An answer that nobody reads gives the memory back.
struct pin_answer {
  std::shared_ptr<const pin_hold> hold;
  error reason{};
};

/// The owner waits no longer for what it asked for on this account: all of it is refused as `cancelled`.
struct cancel_requests {
  account_id account = 0;
};

/// A hold to the arbiter as it ends: these bytes are free.
struct relief {
  account_id account = 0;
  memory_bytes bytes{};
};

/// The arbiter to an owner: give this much more back as soon as nothing uses it.
struct pressure {
  account_id account = 0;
  relief_kind kind{};
  uint64_t bytes = 0;
};

/// The arbiter to an owner: what was asked for and is not given yet may stay.
struct pressure_over {
  account_id account = 0;
};

/// The owner to the arbiter: not now.
struct decline {
  account_id account = 0;
};

/// What the owner's memory is for has changed, or whether someone uses it; either counts as a use.
struct account_use {
  account_id account = 0;
  pin_class cls{};
  bool leased = false;
};

/// The machine runs short of memory: from the pressure monitor.
struct machine_pressure {
  uint64_t wanted_bytes = 0;
};

/// Answered by `pin_status`.
struct show_pins {};

struct pin_status {
  std::vector<account_info> accounts;
  memory_bytes used;
  memory_bytes limit;
  memory_bytes peak;       ///< the most of each that was granted at one time
  uint64_t evictions = 0;  ///< how often an owner was asked to give memory back
  uint64_t refusals = 0;   ///< requests that got none, those that were given up not counted
};

/// The arbiter to itself: a request's time is up.
struct pin_deadline {
  pin_ticket ticket = 0;
};

}  // namespace longshore

LONGSHORE_LOCAL_MESSAGE(open_account)
LONGSHORE_LOCAL_MESSAGE(account_opened)
LONGSHORE_LOCAL_MESSAGE(close_account)
LONGSHORE_LOCAL_MESSAGE(pin_request)
LONGSHORE_LOCAL_MESSAGE(pin_answer)
LONGSHORE_LOCAL_MESSAGE(cancel_requests)
LONGSHORE_LOCAL_MESSAGE(relief)
LONGSHORE_LOCAL_MESSAGE(pressure)
LONGSHORE_LOCAL_MESSAGE(pressure_over)
LONGSHORE_LOCAL_MESSAGE(decline)
LONGSHORE_LOCAL_MESSAGE(account_use)
LONGSHORE_LOCAL_MESSAGE(machine_pressure)
LONGSHORE_LOCAL_MESSAGE(show_pins)
LONGSHORE_LOCAL_MESSAGE(pin_status)
LONGSHORE_LOCAL_MESSAGE(pin_deadline)
