#pragma once
/// A model whose layers come to the device when they are used: what a program calls.
///
/// Made by `runtime::stream`; ends before its runtime does. Owns the layers' device memory, but for what uses hold.
/// Thread rule: every method from any thread; `acquire` blocks the caller until the layer is there. Deadlines:
/// `acquire_timeout`. Failure: `expected`, with the layer's name.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <caf/actor.hpp>
#include <caf/fwd.hpp>

#include "actors/model_holder.hpp"
#include "gpu/layer_plan.hpp"
#include "io/model_source.hpp"
#include "messages/model_lease.hpp"
#include "messages/stream.hpp"

namespace longshore {

/// One of the models that layers are made of: a base model, or a LoRA beside it.
struct stream_source {
  model_source files{};
  /// A lease on the same files in host memory: layers come from there, and from the disk where there is none.
  std::shared_ptr<const model_lease> copy{};
  std::string cast_to{};  ///< what float tensors become on the device, as io/cast_rule has it
};

struct stream_request {
  std::vector<stream_source> sources{};
  std::vector<layer_spec> layers{};               ///< in the order in which they are used, as far as that is known
  std::optional<uint64_t> device_budget_bytes{};  ///< none: what models may take of the device
  layer_plan_options planning{};
  std::chrono::milliseconds acquire_timeout = std::chrono::minutes{1};
};

class streamed_model {
public:
  streamed_model(caf::actor_system& system, caf::actor streamer, std::shared_ptr<const layer_plan> plan,
                 std::chrono::milliseconds acquire_timeout)
      : system_(system), streamer_(std::move(streamer)), plan_(std::move(plan)), acquire_timeout_(acquire_timeout) {}
  ~streamed_model();  ///< nothing of it may be in use on the device any more
  streamed_model(const streamed_model&) = delete;
  streamed_model& operator=(const streamed_model&) = delete;

  const layer_plan& plan() const { return *plan_; }

  /// The layer's weights; with `on_device` they are there once the use's `ready` is over. `goes_on` is asked every few
  /// milliseconds while the call waits, and ends it with `cancelled` where it says no.
  expected<std::shared_ptr<layer_use>> acquire(uint32_t layer, bool on_device = false,
                                               std::function<bool()> goes_on = {});

  /// A pass through the layers begins. The order of uses within passes is what the stream learns.
  void begin_pass();

  /// The next pass is soon: its first layers come, as far as there is room that no other model uses.
  void expect_pass();

  /// Another budget, from now on. What is in use stays until it is released.
  expected<stream_resized> resize(uint64_t budget_bytes);
  /// Gives device memory back, for others. The budget is less by it, until `resize`.
  expected<stream_resized> make_room(uint64_t bytes);
  expected<stream_status> status();

private:
  caf::actor_system& system_;
  caf::actor streamer_;
  std::shared_ptr<const layer_plan> plan_;
  std::chrono::milliseconds acquire_timeout_;
};

/// The streamer of what is asked for. Opens files, so it runs on the caller's thread. `not_found`, `bad_format`,
/// `changed_on_disk`, `bad_argument` for layers that the files do not have, `unsupported` for a copy that was cast.
struct stream_parts {
  std::shared_ptr<const layer_plan> plan;
  caf::actor streamer{};
};
expected<stream_parts> spawn_stream(caf::actor_system& system, const stream_request& request,
                                    const holder_services& services, uint64_t number, uint64_t budget_bytes);

}  // namespace longshore
