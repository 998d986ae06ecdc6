#pragma once
/// Who may hold how much host and pinned memory, who has to give some back, and who waits for it.
///
/// Owns the rules and the sums, never a byte of memory. Pure: no clock, thread, I/O or CAF. One thread at a time. An
/// input is one call; what follows from it comes back as actions for the caller to carry out in order.
///
/// Limits: `pin_limits`. Granted and not yet `relieved` bytes never exceed either limit; this is asserted. Memory
/// counts until it is really free, whatever has become of its owner. Order: claims stand in one line, by class and then
/// by arrival. A claim is granted when it fits and nothing before it in the line wants memory under a limit that it
/// wants too. So a small claim never overtakes a large one of its class, however well it would fit; a claim for host
/// bytes need not wait for one that waits for pins; and a steady stream of claims of a higher class can hold up a lower
/// one, but only until its deadline. Eviction: `may_take` says from whom. The lowest class goes first, the least
/// recently used first within one. What was asked back and is still to come counts as good as free, so one shortfall is
/// not asked for twice; nobody is asked for anything unless what can be asked for covers the shortfall. Failure: a
/// claim gets exactly one answer, a grant or a refusal; the caller promises a `deadline` for each. A claim that cannot
/// fit beside what its class may not take is refused at once. Word from an account that is gone is ignored. A ticket
/// used twice, or bytes given back that are not held, are bugs and assert.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cache/error.hpp"
#include "cache/pin_ledger_types.hpp"

namespace longshore {

class pin_ledger {
public:
  explicit pin_ledger(const pin_limits& limits);

  /// A new owner of memory that holds nothing yet.
  expected<account_id> open_account(const account_spec& spec);

  /// The owner is done or dead: its claims are refused as `cancelled`. What it holds is waited for like something asked
  /// back; when the last of it is `relieved` the account is gone.
  pin_actions close_account(account_id account);

  /// Wants memory; a claim for nothing is granted at once. With a pin limit of 0, host bytes are granted without their
  /// pins, and a claim for pins alone is refused.
  pin_actions request(const pin_claim& claim);

  /// Nobody waits for this claim any more: it is refused as `cancelled`. Ignored when it has its answer already.
  pin_actions cancel(pin_ticket ticket);

  /// The claim has waited long enough: it is refused as `timed_out`, with the names of those that have not given what
  /// they were asked for. From now on nothing is expected of these until they give a sign of life. Ignored when the
  /// claim has its answer already.
  pin_actions deadline(pin_ticket ticket);

  /// These bytes are really free now, asked for or not. Pinned bytes among freed host bytes stand in both numbers.
  pin_actions relieved(account_id account, memory_bytes bytes);

  /// The owner cannot give what it was asked for. It is not asked again for the claims that are there by now.
  pin_actions declined(account_id account);

  /// The memory is for something else now; this is a use of it too. More important than before, it is let off.
  pin_actions reclassify(account_id account, pin_class cls);

  /// Someone uses the host copy, or nobody does any more. Leased anew, it is let off.
  pin_actions set_leased(account_id account, bool leased);

  /// The account was used: it is the last of its class to be asked for anything.
  void touch(account_id account);

  /// The machine runs short of memory, whatever the ledger's own limits say. Asks for `wanted_bytes`, less what is to
  /// come free anyway: inactive intermediates first, then the pins of inactive models, which lets the kernel swap them,
  /// then their host copies. Who declined, and has not been let off since, comes after all of these: pressure that
  /// lasts would find the same one in the way each time.
  pin_actions pressure(uint64_t wanted_bytes);

  /// All accounts, the oldest first.
  std::vector<account_info> accounts() const;

  const memory_bytes& used() const { return used_; }
  memory_bytes limit() const { return {limits_.host_limit_bytes, limits_.pin_limit_bytes}; }
  memory_bytes asked_back() const;
  size_t waiting() const { return line_.size(); }

  /// The table behind all evictions: whether a claim of the one class may take this memory from the other.
  static bool may_take(pin_class taker, pin_class from, bool from_leased, budget which);

private:
  struct account {
    account_spec spec;
    memory_bytes held{};
    memory_bytes asked{};  // the part of `held` that is to come free
    uint64_t last_use = 0;
    uint64_t declined_before = 0;  // not to be asked for claims that arrived earlier than this
    bool silent = false;
    bool closed = false;
  };

  struct waiting_claim {
    pin_claim claim;
    uint64_t arrival;
  };
  using line = std::vector<waiting_claim>;
  using holders = std::vector<std::pair<const account*, uint64_t>>;

  // Inputs and the line: pin_ledger.cpp
  account* find_open(account_id id);
  line::iterator find_waiting(pin_ticket ticket);
  void sort_line();
  void settle(pin_actions& out);
  void serve_line(pin_actions& out);
  bool fits(const waiting_claim& c) const;
  void grant(const waiting_claim& c, pin_actions& out);
  void excuse(account_id id, account& a, pin_actions& out);

  // Who has to give what: pin_ledger_eviction.cpp
  const account& account_of(const waiting_claim& c) const { return accounts_.at(c.claim.account); }
  uint64_t free_bytes(budget which) const { return limit().of(which) - used_.of(which); }
  uint64_t coming_bytes(budget which) const;
  uint64_t shortfall_bytes(const waiting_claim& c, budget which) const;
  uint64_t with_hysteresis(uint64_t shortfall, budget which) const;
  bool could_take(const waiting_claim& c, const account& from, budget which) const;
  uint64_t askable_bytes(const waiting_claim& c, budget which) const;
  void make_room(const waiting_claim& c, pin_actions& out);
  std::vector<account_id> in_order_of_sacrifice() const;
  uint64_t ask_free(account_id id, pin_actions& out);
  uint64_t ask_unpin(account_id id, uint64_t need_bytes, pin_actions& out);
  uint64_t relief_beyond_claims_bytes() const;

  // Refusals: pin_ledger_refusal.cpp
  std::optional<error> objection(const waiting_claim& c) const;
  std::optional<error> no_room_beside_others(const waiting_claim& c, budget which) const;
  uint64_t out_of_reach_bytes(const waiting_claim& c, const account& a, budget which) const;
  uint64_t owed_bytes(const waiting_claim& c, const account& a) const;
  error too_late(const waiting_claim& c) const;
  std::string need_text(const waiting_claim& c, budget which) const;
  std::string out_of_reach_text(const waiting_claim& c, budget which) const;
  std::string list_text(const waiting_claim& c, holders found) const;

  pin_limits limits_;
  memory_bytes used_{};
  std::map<account_id, account> accounts_;
  line line_;  // by class, then by arrival
  account_id next_account_ = 1;
  uint64_t next_arrival_ = 1;
  uint64_t uses_ = 0;  // the logical clock behind last_use
};

}  // namespace longshore
