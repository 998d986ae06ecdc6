#pragma once
/// Longshore in a program: starts the actors, offers them as plain calls, and stops them in order.
///
/// Owns the actor system, the arenas and the trace. Thread rule: every method from any thread; calls block the caller
/// and no one else. Limits: `runtime_options`. Deadlines: every load has one. Failure: `expected`; what a load held by
/// then is given back. The destructor stops what was not stopped; leases may outlive it.

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <caf/actor_control_block.hpp>

#include "actors/load_client.hpp"
#include "actors/model_holder.hpp"
#include "actors/streamed_model.hpp"
#include "cache/error.hpp"
#include "cache/pressure_rule.hpp"
#include "io/read_engine.hpp"
#include "messages/block.hpp"
#include "messages/cache.hpp"
#include "messages/pin.hpp"
#include "messages/preload.hpp"
#include "messages/pressure.hpp"
#include "messages/slot.hpp"

namespace longshore {

struct runtime_options {
  uint64_t host_limit_bytes = 0;            ///< 0: a share of the effective memory limit, see io/memory_limit
  uint64_t warm_bytes = uint64_t{4} << 30;  ///< freed arenas kept for reuse; they count under the host limit
  engine_options engine{};
  holder_options holder{};
  std::shared_ptr<device> target{};    ///< where files of hold `device` go; null: there is none
  size_t streams = 1;                  ///< of the device, for files to go to it beside each other
  uint64_t staging_bytes = 256 << 20;  ///< most that chunks on their way to it take, all streams; of the host limit
  /// Most page-locked memory, of the host limit. None: half of it, since the system cannot swap it; 0: do without.
  std::optional<uint64_t> pin_budget_bytes{};
  /// How often to look how short of memory the machine is, and from when on to give some back; 0 ms: never.
  std::chrono::milliseconds pressure_interval{100};
  pressure_settings pressure{};
  std::function<memory_sample()> memory_sampler{};  ///< called on an actor's thread; none: what the system says
  bool device_is_shared = true;  ///< with programs that may run short of its memory: it is watched too
  std::chrono::milliseconds memory_timeout = std::chrono::seconds{30};  ///< a load's wait for memory
  std::chrono::milliseconds stop_timeout = std::chrono::seconds{30};
  std::string trace_path{};                                 ///< empty: no trace
  std::function<void(const load_progress&)> on_progress{};  ///< called on an actor's thread; must not block
};

/// A load that goes on by itself. Any thread; dropping it changes nothing.
class load_handle {
public:
  load_handle() = default;
  explicit load_handle(caf::weak_actor_ptr client) : client_(std::move(client)) {}

  /// The load's callback is called with `cancelled`, unless it was answered before; and what nobody else waits for is
  /// not read any further.
  void cancel() const;

private:
  caf::weak_actor_ptr client_;
};

class runtime {
public:
  static expected<std::unique_ptr<runtime>> start(runtime_options options = {});

  runtime(const runtime&) = delete;
  runtime& operator=(const runtime&) = delete;
  ~runtime();

  /// A lease on the model, loaded if need be. `not_found`, `wrong_kind`, `out_of_budget`, `changed_on_disk`, ...
  expected<model_answer> load(const get_model& request);

  /// A lease on the object, which is in the cache from now on. `out_of_budget` with the holders' names, `timed_out`,
  /// `wrong_kind`, ...
  expected<model_answer> put(const put_object& object);

  /// Either without waiting. `on_answer` is called once, with the lease or the reason, on an actor's thread: it must
  /// not block. `cancelled` after the handle's `cancel`.
  load_handle begin(const lease_request& request, load_callback on_answer);

  /// The layers of a model on the device, as far as they fit, and as they are used. `not_found`, `bad_argument`,
  /// `unsupported` without a device, ...
  expected<std::unique_ptr<streamed_model>> stream(const stream_request& request);

  /// One outcome an item, in order.
  expected<std::vector<preload_outcome>> preload(std::vector<preload_item> items);

  expected<void> remove(const std::string& key);
  expected<void> clear();
  expected<void> keep(const std::string& key, bool keep);
  expected<model_list> list();
  /// Moves each time the key is put, replaced, evicted or removed; also of a key that is absent.
  expected<uint64_t> generation(const std::string& key);

  /// Everything that waits fails with `stopped`, from now on. Returns at once; safe to call again.
  void cancel_all();

  /// No new work, nothing in flight, everything unleased freed, the trace on disk. Fails when a deadline passed or the
  /// trace could not be written.
  expected<void> stop();

  /// Writes what happens from now on into this file, for Perfetto, until `finish_trace` or the end. One at a time.
  expected<void> begin_trace(const std::string& path);
  /// The file is complete, or what went wrong with it. Nothing to do when there is no trace.
  expected<void> finish_trace();

  /// What staging for the device takes and took; nothing but zeros without a device.
  expected<staging_status> staging();

  /// Who holds how much of the memory budget, and how it went so far.
  expected<pin_status> budget();

  /// What was seen of the machine's memory, and how often some was asked back; zeros where it is not watched.
  expected<pressure_status> pressure();

  /// Counts memory of the caller's own, such as cached outputs, under the same budget, until the block's last pointer
  /// is gone. `out_of_budget` with the holders' names, `timed_out`, `overloaded`.
  expected<std::shared_ptr<const memory_block>> register_memory(const register_block& block);

  std::string_view engine_name() const;
  std::string device_name() const;  ///< "host", "cuda:0"; empty without a device
  uint64_t host_limit_bytes() const;

private:
  struct parts;
  explicit runtime(std::unique_ptr<parts> p);
  std::unique_ptr<parts> parts_;
};

}  // namespace longshore
