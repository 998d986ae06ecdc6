#pragma once
/// What goes into the registry and what comes out: requests, actions, limits.
///
/// Owns nothing. Plain values, any thread. An action is an order to a holder or an answer to a ticket; whoever drives
/// the registry carries them out in the order given.

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "cache/cache_mode.hpp"
#include "cache/error.hpp"
#include "cache/file_identity.hpp"
#include "cache/model_kind.hpp"

namespace longshore {

using file_id = uint64_t;    ///< one file's bytes in memory, held by one actor; never used twice
using ticket_id = uint64_t;  ///< one request that waits for its answer; chosen by the caller, never used twice
using lease_id = uint64_t;   ///< the right to use the files of one answer; never used twice

struct registry_limits {
  uint64_t host_limit_bytes = 0;      ///< all bytes of host memory that holders have at one time
  uint64_t device_limit_bytes = 0;    ///< the same of device memory
  size_t max_waiting_tickets = 4096;  ///< requests that wait for a load; more are `overloaded`
  size_t max_pending_loads = 256;     ///< loads in the making; more are `overloaded`
  size_t max_entries = 65536;         ///< entries and loads in the making together; more are `overloaded`
  size_t max_tombstones = 4096;       ///< see cache/generations.hpp
  size_t max_named_holders = 8;       ///< how many holders a refusal names one by one
};

struct get_request {
  ticket_id ticket = 0;
  std::string key;
  model_kind kind{};
  bool any_kind = false;  ///< of a read-only request: whatever the key stands for will do
  cache_mode mode = cache_mode::automatic;
  std::vector<file_source> files{};  ///< at least one, in the model's order; read_only ignores them
  std::string layout_tag{};          ///< whatever else must be equal for a hit, such as the identity of a shard index
  bool keep = false;                 ///< never evict the entry
  bool urgent = false;               ///< someone waits for it, so it goes before a prefetch
};

/// A value of the caller's own, of a size known beforehand.
struct put_request {
  ticket_id ticket = 0;
  std::string key;
  model_kind kind{};
  cache_mode mode = cache_mode::automatic;  ///< or override: the key's kind may change
  uint64_t bytes = 0;                       ///< of host memory
  bool keep = false;                        ///< never evict the entry
};

/// Start a holder for this file. It answers `file_opened`, or `file_failed`.
struct start_load {
  file_id file;
  file_source source;
  bool urgent;
  file_id host_copy = 0;  ///< of a file for the device: the same bytes in host memory, there or on their way; 0: none
};

/// The file may take this much memory now. Its holder answers `file_ready` or `file_failed`.
struct grant_bytes {
  file_id file;
  uint64_t bytes;
  bool patient = true;  ///< false for what nobody needs: it shall not wait for others' memory
};

/// The file gets no memory and its load is over. Its holder answers `file_dropped`.
struct refuse_bytes {
  file_id file;
  error reason;
};

/// Someone waits for this load now: it goes before prefetches.
struct promote {
  file_id file;
};

/// A file that is ready is used by leases from now on, or by none any more.
struct lease_change {
  file_id file;
  bool leased;
};

/// The answer to `asked_back` for a file that cannot be freed now.
struct keep_file {
  file_id file;
};

/// Nobody wants this unfinished load any more. Its holder frees all it has, then answers `file_dropped`.
struct cancel_load {
  file_id file;
};

/// Nobody uses this file any more. Its holder frees it, then answers `file_dropped`.
struct drop_file {
  file_id file;
};

/// The answer to a ticket: the model is there, and its files stay until the lease is returned.
struct complete {
  ticket_id ticket;
  bool hit;  ///< no load had to be waited for
  std::string key;
  model_kind kind;
  uint64_t generation;  ///< equal to `generation(key)` until what the key stands for changes
  std::vector<file_id> files;
  lease_id lease;
};

/// The other answer to a ticket.
struct fail {
  ticket_id ticket;
  error reason;
};

using action = std::variant<start_load, grant_bytes, refuse_bytes, promote, lease_change, keep_file, cancel_load,
                            drop_file, complete, fail>;
using actions = std::vector<action>;

struct entry_info {
  std::string key;
  model_kind kind;
  uint64_t generation;
  uint64_t size_bytes;      ///< of its files on disk, or of the object
  uint64_t reserved_bytes;  ///< of host or device memory; files shared with other entries count in each
  size_t leases;
  bool kept;
  std::vector<file_id> files;
  uint64_t last_use;  ///< a counter, not a time: larger is later
  hold_mode hold;     ///< of its first file
};

/// What has happened so far. Only ever grows.
struct registry_counts {
  uint64_t hits = 0;       ///< requests that needed no load
  uint64_t misses = 0;     ///< loads begun, and read-only requests that found nothing
  uint64_t puts = 0;       ///< puts begun
  uint64_t evictions = 0;  ///< entries lost because their memory was needed
  uint64_t failures = 0;   ///< loads and puts that failed, those that were given up not counted
};

}  // namespace longshore
