#pragma once
/// Memory that the pin arbiter granted: as long as this lives, its bytes count against the budget.
///
/// Owns a share of the ledger, not the memory; lives beside the memory and ends after it, so that what the ledger calls
/// free is free, however its owner came to its end. Immutable, any thread. Outlives its runtime safely: then nobody is
/// told any more.

#include <memory>

#include <caf/actor_control_block.hpp>

#include "cache/pin_ledger_types.hpp"

namespace longshore {

class pin_hold {
public:
  /// `within`: where these are pins of host bytes that were granted before, the grant of those, which then ends last.
  pin_hold(account_id account, memory_bytes bytes, caf::weak_actor_ptr arbiter, std::shared_ptr<const pin_hold> within)
      : account_(account), bytes_(bytes), arbiter_(std::move(arbiter)), within_(std::move(within)) {}
  ~pin_hold();
  pin_hold(const pin_hold&) = delete;
  pin_hold& operator=(const pin_hold&) = delete;

  account_id account() const { return account_; }
  const memory_bytes& bytes() const { return bytes_; }

private:
  account_id account_;
  memory_bytes bytes_;
  caf::weak_actor_ptr arbiter_;
  std::shared_ptr<const pin_hold> within_;
};

}  // namespace longshore
