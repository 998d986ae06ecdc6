#pragma once
/// Short ways to drive a pin ledger by hand, shared by the tests of its rules. One thread; owns one ledger a test.

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cache/pin_ledger.hpp"

namespace longshore {

inline bool operator==(const ask_back& a, const ask_back& b) {
  return a.account == b.account && a.kind == b.kind && a.bytes == b.bytes;
}

inline void PrintTo(const ask_back& ask, std::ostream* out) {
  *out << (ask.kind == relief_kind::free ? "free " : "unpin ") << ask.bytes << " of " << ask.account;
}

template <class T>
std::vector<T> only(const pin_actions& all) {
  std::vector<T> found;
  for (const auto& one : all)
    if (const auto* wanted = std::get_if<T>(&one))
      found.push_back(*wanted);
  return found;
}

inline std::vector<pin_ticket> granted(const pin_actions& all) {
  std::vector<pin_ticket> tickets;
  for (const auto& one : only<pin_grant>(all))
    tickets.push_back(one.ticket);
  return tickets;
}

inline std::vector<ask_back> asked(const pin_actions& all) { return only<ask_back>(all); }

/// The one refusal among these actions; one with an empty text when there is none or more than one.
inline error refusal(const pin_actions& all) {
  const auto found = only<pin_refusal>(all);
  return found.size() == 1 ? found[0].reason : error{};
}

/// A ledger with room for 100 host bytes, 50 of them pinned, that takes 10 more than what lacks.
class pin_rules : public testing::Test {
protected:
  static constexpr pin_limits usual_limits{.host_limit_bytes = 100, .pin_limit_bytes = 50, .hysteresis_bytes = 10};

  account_id open(const std::string& name, pin_class cls, memory_bytes held = {}, bool leased = false,
                  uint64_t segment_bytes = 1) {
    const auto id = ledger.open_account({name, cls, leased, segment_bytes}).value();
    EXPECT_EQ(only<pin_grant>(want(id, held)).size(), 1u) << name << " gets no room for the test";
    return id;
  }

  /// The ticket of the latest claim is `last`.
  pin_actions want(account_id who, memory_bytes bytes, bool patient = false) {
    return ledger.request({.ticket = ++last, .account = who, .wanted = bytes, .patient = patient});
  }

  account_info info(account_id id) const {
    const auto all = ledger.accounts();
    const auto found = std::find_if(all.begin(), all.end(), [=](const account_info& a) { return a.account == id; });
    return found == all.end() ? account_info{} : *found;
  }

  pin_ledger ledger{usual_limits};
  pin_ticket last = 0;
};

inline constexpr pin_class all_classes[] = {pin_class::stream_staging, pin_class::active_intermediate,
                                            pin_class::active_model, pin_class::inactive_model,
                                            pin_class::inactive_intermediate};

}  // namespace longshore
