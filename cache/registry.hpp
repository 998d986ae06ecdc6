#pragma once
/// Who has what: the keys, the files behind them, the loads in the making, and the memory all of them may take.
///
/// Owns the rules and the sums, never a byte of a model. Pure: no clock, thread, I/O or CAF. One thread at a time.
/// An input is one call; what follows from it comes back as actions for the caller to carry out in order.
///
/// Three things: a *held file* is one file in memory, in the care of one holder, used by any number of entries, loads
/// and leases; an *entry* is what a key stands for, one or more files that are all ready; a *pending load* is an entry
/// in the making with the tickets that wait for it. A file that nothing uses any more is dropped, or its load
/// cancelled.
///
/// A file for the device may come out of a *host copy*: a file in host memory with the same bytes. One that was made
/// for that alone is a *spare*: no key leads to it, it stays as long as nobody needs its memory, and the next load to
/// the device finds it by the file's identity. A host copy that fails is no failure of the device's load.
///
/// Limits: `registry_limits`; the bytes granted and not yet given back never exceed `host_limit_bytes`
/// and, of what is held on a device, `device_limit_bytes`. Each tier has its own queue for memory, and evicts its own.
/// Holders: each of `refuse_bytes`, `cancel_load` and `drop_file` is a holder's last order, answered by `file_dropped`.
/// From that order on the file is used by nothing, and its bytes count until the answer. A message from a holder that
/// crossed such an order on its way is ignored; so is one from a holder that is already gone.
/// Order: memory is granted first come, first served (cache/byte_ledger.hpp says why), urgent or not.
/// Failure: a ticket gets exactly one answer, `complete` or `fail`. A load fails as a whole, for all its tickets with
/// the same error. A ticket that is used a second time while it waits is a bug and asserts.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cache/byte_ledger.hpp"
#include "cache/error.hpp"
#include "cache/generations.hpp"
#include "cache/registry_types.hpp"

namespace longshore {

class registry {
public:
  explicit registry(registry_limits limits);

  /// Asks for a model. Automatic: an entry made of these files is a hit, a load in the making of them is joined, and
  /// anything else is loaded; until it is there the key keeps what it had. Override: always new files, and the kind may
  /// change. Read-only: whatever the key stands for or is about to, and never a load. Unshared: always new files, which
  /// stay as long as the lease and under no key; the key is what errors call them.
  actions get(const get_request& request);

  /// Puts an object in place of what the key stands for, of the same kind unless in override. To all other rules it is
  /// a file in the making that no other request shares, and that only its key leads to.
  actions put(const put_request& request);

  /// The ticket's user no longer waits: it is answered `cancelled`, and a load that nobody else waits for is cancelled.
  actions give_up(ticket_id ticket);

  /// The holder has read the header and wants `bytes`; 0 (a mapped file) is granted at once.
  actions file_opened(file_id file, uint64_t bytes);
  actions file_ready(file_id file);

  /// The holder failed, or died, in whatever state, and holds nothing any more.
  actions file_failed(file_id file, const error& reason);

  /// The answer to a last order: the memory is really free.
  actions file_dropped(file_id file);

  /// The file has waited for its memory long enough. Ignored when it does not wait.
  actions reservation_deadline(file_id file);

  actions lease_returned(lease_id lease);

  /// The file's memory is needed elsewhere: it is freed when nothing uses it, and `keep_file` says so when something
  /// does.
  actions asked_back(file_id file);

  /// Frees at least so many bytes of what nobody uses there, or all of it.
  actions shed(tier where, uint64_t bytes);

  /// Removes an entry, kept or not, and its host copies. Its files live on while leased. Loads in the making go on, and
  /// put the key anew.
  expected<actions> remove(const std::string& key);

  /// Removes every entry in the same way.
  actions clear();

  /// Marks an entry as never to be evicted, or takes the mark away. The mark outlives a replacement.
  expected<actions> keep(const std::string& key, bool kept);

  /// Fails what waits, cancels what loads, removes all entries. From now on `get` fails with `stopped`.
  actions stop();

  /// All entries, by key.
  std::vector<entry_info> list() const;

  /// Moves each time the key is put, replaced, evicted or removed; also defined for a key that is absent.
  uint64_t generation(const std::string& key) const;

  const registry_counts& counts() const { return counts_; }
  uint64_t used_bytes(tier where = tier::host) const { return ledger(where).used_bytes(); }
  uint64_t limit_bytes(tier where = tier::host) const { return ledger(where).limit_bytes(); }
  size_t file_count() const { return files_.size(); }
  size_t pending_load_count() const { return loads_.size(); }

  /// Whether there is a file that no lease holds: after `stop`, one that is still on its way out.
  bool has_unleased_files() const;

private:
  using load_id = uint64_t;
  enum class file_state : uint8_t { opening, waiting_for_bytes, reading, ready, dropping };

  struct held_file {
    file_source source;
    bool urgent = false;
    file_state state = file_state::opening;
    size_t leases = 0;
    uint64_t last_use = 0;
    std::set<std::string> keys{};  // of the entries made of it
    std::set<load_id> loads{};
    bool spare = false;           // stays without any of these
    file_id host_copy = 0;        // that it is or was made from
    std::set<file_id> feeding{};  // files for the device that are being made from it
  };

  struct entry {
    model_kind kind;
    std::vector<file_id> files;
    std::string layout_tag;
    load_id made_by;
    uint64_t generation;
    bool kept = false;
    size_t leases = 0;
    uint64_t last_use = 0;
  };

  struct waiter {
    ticket_id ticket;
    bool keep;
  };

  struct pending_load {
    std::string key;
    model_kind kind;
    std::vector<file_id> files;
    std::string layout_tag;
    std::vector<waiter> waiters;
    bool unshared = false;
  };

  struct lease {
    std::string key;
    uint64_t generation;
    std::vector<file_id> files;
  };

  // Requests: registry.cpp
  std::optional<error> objection(const get_request& request) const;
  std::optional<error> no_room_to_wait() const;
  std::optional<model_kind> kind_of(const std::string& key) const;
  bool same_files(const std::vector<file_id>& files, const get_request& request) const;
  bool is_hit(const get_request& request) const;
  std::optional<load_id> joinable_load(const get_request& request) const;
  void hit(const get_request& request, actions& out);
  void join(load_id id, const get_request& request, actions& out);
  void begin_load(const get_request& request, actions& out);
  file_id usable_file(const file_source& source, file_id oldest_allowed) const;
  file_id pick_file(const file_source& source, const get_request& request, file_id first_new, actions& out);
  void hurry(const std::vector<file_id>& files, actions& out);
  void hurry(file_id id, actions& out);
  error not_found(const std::string& key) const;

  // Loads, entries and files: registry_state.cpp
  bool all_ready(const pending_load& load) const;
  pending_load take_load(load_id id);
  void finish_load(load_id id, bool was_hit, actions& out);
  void fail_load(load_id id, const error& reason, actions& out);
  uint64_t put_entry(load_id id, const pending_load& load, actions& out);
  void remove_entry(const std::string& key, actions& out);
  void complete_ticket(ticket_id ticket, bool was_hit, const std::string& key, model_kind kind, uint64_t generation,
                       const std::vector<file_id>& files, actions& out);
  entry* entry_of(const lease& held);
  held_file* find_file(file_id file);
  void drop_if_unused(file_id file, actions& out);
  void start_dropping(file_id file);

  // Host copies: registry_copies.cpp
  file_id host_copy_for(const file_source& source, const get_request& request, file_id oldest_allowed, actions& out);
  void stop_feeding(file_id on_device, actions& out);
  void forget_file(file_id file, actions& out);
  void forget_spare(file_id file, actions& out);
  void forget_spares(actions& out);

  // Memory: registry_memory.cpp
  byte_ledger& ledger(tier where) { return where == tier::host ? host_ledger_ : device_ledger_; }
  const byte_ledger& ledger(tier where) const { return where == tier::host ? host_ledger_ : device_ledger_; }
  tier tier_of_file(file_id file) const { return tier_of(files_.at(file).source.hold); }
  byte_ledger& ledger_of(file_id file) { return ledger(tier_of_file(file)); }
  const byte_ledger& ledger_of(file_id file) const { return ledger(tier_of_file(file)); }
  std::optional<error> too_large_together(const pending_load& load) const;
  void settle(actions& out);
  bool make_room(tier where, actions& out);
  void evict(file_id file, actions& out);
  std::vector<file_id> evictable_oldest_first(tier where) const;
  bool is_kept(const held_file& file) const;
  bool is_evictable(const held_file& file) const;
  uint64_t kept_bytes(tier where) const;
  void refuse(file_id file, errc code, const std::string& why, actions& out);
  std::string holders_text(tier where, bool only_kept) const;
  std::string holder_name(const held_file& file) const;

  registry_limits limits_;
  byte_ledger host_ledger_, device_ledger_;
  generations generations_;
  std::map<file_id, held_file> files_;
  std::map<file_source, std::set<file_id>> usable_;  // files that a new load may share: all but those being dropped
  std::map<std::string, entry> entries_;
  std::map<load_id, pending_load> loads_;  // in the order of their start
  std::unordered_map<ticket_id, load_id> tickets_;
  std::unordered_map<lease_id, lease> leases_;
  file_id next_file_ = 1;
  load_id next_load_ = 1;
  lease_id next_lease_ = 1;
  uint64_t uses_ = 0;  // the logical clock behind last_use
  registry_counts counts_;
  bool stopped_ = false;
};

}  // namespace longshore
