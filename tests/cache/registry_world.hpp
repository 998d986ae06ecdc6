#pragma once
/// A made-up world around a registry: holders that really have the memory, users that really have leases.
///
/// Owns one registry and its own account of what every holder has. It carries out each action, answers as a holder or
/// user would, and checks after every step what must always be true. Shares no code with the registry. One thread.
/// Failure: a broken rule ends the property with RapidCheck's assertion.

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "cache/registry.hpp"

namespace longshore {

class registry_world {
public:
  explicit registry_world(uint64_t limit_bytes)
      : limit_bytes_(limit_bytes), cache_({.host_limit_bytes = limit_bytes}) {}

  enum class phase { opening, asked, reading, ready, ending };
  struct holder {
    file_source source;
    phase state = phase::opening;
    uint64_t asked_bytes = 0;
    uint64_t real_bytes = 0;
    size_t leases = 0;
    bool unshared = false;  // for one lease alone
  };

  /// What users and operators do.
  void get(get_request request);
  void put(put_request request);
  void give_up(size_t which);
  void return_lease(size_t which);
  void remove(const std::string& key);
  void keep(const std::string& key, bool kept);
  void clear();
  void stop();

  /// A holder takes its next step: opens with `bytes`, finishes reading, or frees its memory.
  void advance(size_t which, uint64_t bytes);
  void break_down(size_t which);
  void deadline(size_t which);

  /// Ends all: holders finish, leases come back, deadlines pass. Asserts that nothing is left.
  void drain();

  const std::map<file_id, holder>& holders() const { return holders_; }

private:
  using keys = std::set<std::string>;
  struct seen_counts {
    uint64_t hits = 0, puts = 0, evictions = 0;
  };

  /// `taken`: the entries that the call itself takes away. `broken`: the file whose holder broke down.
  void carry_out(const actions& all, const keys& taken = {}, file_id broken = 0);
  void obey(const start_load& order);
  void obey(const grant_bytes& order);
  void obey(const refuse_bytes& order);
  void obey(const promote& order);
  void obey(const lease_change& order);
  void obey(const keep_file& order);
  void obey(const cancel_load& order);
  void obey(const drop_file& order);
  void obey(const complete& answer);
  void obey(const fail& answer);

  void check_memory() const;
  void check_entries(const keys& taken, file_id broken);
  void check_counts();
  file_id nth_holder(size_t which) const;
  keys all_keys() const;

  uint64_t limit_bytes_;
  registry cache_;
  std::map<file_id, holder> holders_;
  std::vector<file_id> asking_;       // in the order in which they asked for memory
  std::set<ticket_id> open_tickets_;  // asked and not yet answered
  std::map<lease_id, std::vector<file_id>> leases_;
  ticket_id next_ticket_ = 1;
  cache_mode mode_ = cache_mode::automatic;  // of the request that is being carried out
  bool stopped_ = false;
  std::map<std::string, entry_info> before_;  // the entries after the last step
  std::map<std::string, uint64_t> generations_before_;
  seen_counts seen_;
  registry_counts counts_before_;
};

}  // namespace longshore
