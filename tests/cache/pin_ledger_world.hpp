#pragma once
/// A made-up world around a pin ledger: owners that really have the memory, and do as they please.
///
/// Owns one ledger and its own account of what every owner has, was asked for and waits for. It carries out each action
/// at once, and checks after each of them and after every step what must always be true, by plain search over all
/// owners. Shares no rule with the ledger: who may take what stands here as a table. One thread.
/// Failure: the first broken rule is kept in `fault()`, and the history goes on; a seed repeats it exactly.

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "cache/pin_ledger.hpp"

namespace longshore {

/// Rows are takers, columns those who are taken from, both from most to least important; x: may take.
/// Under the host limit this is of host copies that are not leased; of leased ones nobody may take any.
inline constexpr std::string_view may_take_pins[] = {".xxxx", "..xxx", "...xx", "....x", "....."};
inline constexpr std::string_view may_take_host[] = {".x.xx", "...xx", "...xx", "....x", "....."};

/// How often the things happened that the histories are there for.
struct pin_tally {
  uint64_t steps = 0;
  uint64_t granted = 0, granted_after_waiting = 0, refused_at_once = 0, refused_later = 0, cancelled = 0, timed_out = 0;
  uint64_t silent_victims = 0, declined = 0, let_off = 0, asked_by_pressure = 0;
  uint64_t partial_reliefs = 0, larger_reliefs = 0, unasked_reliefs = 0;
  uint64_t died_waiting = 0, died_while_asked = 0;
};

class pin_world {
public:
  pin_world(uint64_t seed, pin_tally& tally);

  /// A random history, then its end: deadlines pass, owners go, everything is given back.
  void live();
  void drain();

  const std::string& fault() const { return fault_; }

private:
  struct owner {
    pin_class cls;
    bool leased;
    uint64_t segment_bytes;
    memory_bytes real{};
    memory_bytes asked{};
    uint64_t last_use = 0;
    uint64_t declined_before = 0;
    bool silent = false;
    bool dead = false;
  };

  struct wish {
    pin_claim claim;
    uint64_t arrival;
  };

  enum class event { other, cancel, deadline, death, pressure };

  // What happens: pin_ledger_world.cpp
  uint64_t below(uint64_t end) { return random_() % end; }
  void one_step();
  void open();
  void ask_for_memory(account_id who);
  void give(account_id who);
  void give_back(account_id who, memory_bytes bytes);
  void decline(account_id who);
  void die(account_id who);
  void change_class(account_id who);
  void change_lease(account_id who);
  void end_wish(event how);
  void press();
  void forgive(owner& o);
  account_id any_owner(bool alive);

  void carry_out(const pin_actions& all, event why);
  void obey(const pin_grant& order);
  void obey(const pin_refusal& order);
  void obey(const ask_back& order);
  void obey(const let_off& order);

  // What must be true: pin_ledger_witness.cpp
  void check(bool truth, const char* what);
  void check_refusal(const wish& w, errc code);
  void check_ask(const ask_back& order);
  bool is_pressures_turn(const ask_back& order) const;
  void check_after_step();
  bool explains(const wish& w, const ask_back& order, budget which);
  bool may_take(const wish& w, const owner& from, budget which) const;
  bool is_before(const wish& a, const wish& b) const;
  bool is_next(const wish& w) const;
  uint64_t sum(budget which) const;
  uint64_t coming(budget which) const;
  uint64_t askable(const wish& w, budget which) const;
  bool can_never_fit(const wish& w) const;
  bool pins_nothing(const wish& w) const;
  uint64_t lack(const wish& w, budget which) const;

  std::mt19937 random_;
  pin_limits limits_;
  pin_ledger ledger_;
  pin_tally& tally_;
  std::map<account_id, owner> owners_;
  std::vector<wish> wishes_;  // asked and not yet answered, in order of arrival
  std::string fault_;
  uint64_t next_ticket_ = 1;
  uint64_t next_arrival_ = 1;
  uint64_t uses_ = 0;
  event now_ = event::other;
  uint64_t new_ticket_ = 0;     // the one that this step is the arrival of
  bool asked_in_step_[2] = {};  // by budget: the hysteresis may follow a real shortfall
};

}  // namespace longshore
