#pragma once
/// Between the users of models and the registry. `get_model` and the other requests are answered as CAF responses; an
/// answer that comes too late destroys its lease, and so returns it.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cache/error.hpp"
#include "cache/registry_types.hpp"
#include "io/model_source.hpp"
#include "messages/local_message.hpp"
#include "messages/model_lease.hpp"

namespace longshore {

/// Asks for a model. Answered by `model_answer`.
struct get_model {
  std::string key{};
  model_kind kind{};
  bool any_kind = false;  ///< of a read-only request: whatever the key stands for will do
  cache_mode mode = cache_mode::automatic;
  model_source source{};
  bool keep = false;
  bool urgent = true;
  std::chrono::milliseconds deadline = std::chrono::minutes{10};
};

/// Puts a value of the client's own into the cache, in place of what the key stands for. Answered by `model_answer`.
///
/// It counts under the memory limit, and is evicted like any model. The cache lets go of the payload on an actor's
/// thread, before its bytes are free for others: its deleter is how a client hears of that, and must not block. A lease
/// keeps the payload as it keeps a model.
struct put_object {
  std::string key{};
  model_kind kind{};
  cache_mode mode = cache_mode::automatic;  ///< or override: the key's kind may change
  uint64_t bytes = 0;                       ///< of host memory
  std::shared_ptr<const void> payload{};    ///< not null
  bool keep = false;
  std::chrono::milliseconds deadline = std::chrono::minutes{10};
};

/// A lease, or the reason why there is none.
struct model_answer {
  std::shared_ptr<const model_lease> lease;
  bool hit = false;
  error reason{};
};

/// To whoever asks for a model on another's behalf: the other wants it no longer.
struct cancel_request {};

/// A lease to the registry as it ends.
struct return_lease {
  lease_id lease = 0;
};

/// Answered by `cache_answer`, as are the next two.
struct remove_model {
  std::string key;
};

struct clear_models {};

struct keep_model {
  std::string key;
  bool keep = true;
};

/// Whether it was done; `reason` says why not.
struct cache_answer {
  bool done = false;
  error reason{};
};

/// Answered by `model_list`.
struct list_models {};

struct model_list {
  std::vector<entry_info> entries;
  uint64_t used_bytes = 0;
  uint64_t limit_bytes = 0;
  registry_counts counts{};
};

/// Answered by `key_generation`.
struct ask_generation {
  std::string key;
};

struct key_generation {
  uint64_t generation = 0;
};

/// Fails what waits, cancels what loads, frees what nobody uses. Answered by `cache_answer` when all of that is over.
struct stop_models {};

/// The registry to itself: a ticket's time is up.
struct ticket_deadline {
  ticket_id ticket = 0;
};

/// The registry to itself: a file has waited for its memory long enough.
struct memory_deadline {
  file_id file = 0;
};

}  // namespace longshore

LONGSHORE_LOCAL_MESSAGE(get_model)
LONGSHORE_LOCAL_MESSAGE(put_object)
LONGSHORE_LOCAL_MESSAGE(model_answer)
LONGSHORE_LOCAL_MESSAGE(cancel_request)
LONGSHORE_LOCAL_MESSAGE(return_lease)
LONGSHORE_LOCAL_MESSAGE(remove_model)
LONGSHORE_LOCAL_MESSAGE(clear_models)
LONGSHORE_LOCAL_MESSAGE(keep_model)
LONGSHORE_LOCAL_MESSAGE(cache_answer)
LONGSHORE_LOCAL_MESSAGE(list_models)
LONGSHORE_LOCAL_MESSAGE(model_list)
LONGSHORE_LOCAL_MESSAGE(ask_generation)
LONGSHORE_LOCAL_MESSAGE(key_generation)
LONGSHORE_LOCAL_MESSAGE(stop_models)
LONGSHORE_LOCAL_MESSAGE(ticket_deadline)
LONGSHORE_LOCAL_MESSAGE(memory_deadline)
