#pragma once
/// Layers of torch's that run one after the other, with weights that come to the device ahead of them: a model that
/// does not fit computes all the same.
///
/// A layer is a function of tensors, and the names of the weights that it wants. Owns the streamed weights and the
/// functions; ends before its runtime. The weights are views of the device's memory, for the time of the layer's run
/// and for reading. A tensor that a layer keeps longer stays what it was: its memory then counts under no budget, is
/// used for nothing else, and goes with the last view, past the sequence's end if need be.
/// On a device that torch queues work on, the calling thread's current stream is used; it waits here for weights that
/// have not come, and a layer's place is given back once the work is over that was queued by its end.
/// Limits: the budget; `queued_layers_most` layers' work on the device. Thread rule: one `forward` at a time, and
/// layers may not call it; the rest from any thread, from within a layer too. Deadlines: `acquire_timeout` for each
/// layer. Failure: `expected` for what streaming can be wrong about, with the layer's name. What a layer throws passes
/// through, and the sequence can be used again; but c10::OutOfMemoryError first frees what other layers have on the
/// device, and runs the layer once more, so a layer should not write to its input.
/// Needs none of torch's headers; include <ATen/ATen.h> or <torch/torch.h> to use it.

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "actors/runtime.hpp"
#include "app/torch/memory_views.hpp"
#include "app/torch/tensors.hpp"

namespace longshore {

struct sequence_layer {
  std::string name;
  std::vector<layer_tensor> tensors;  ///< its weights' names, each once
  std::function<at::Tensor(const at::Tensor& input, const named_tensors& weights)> run;
};

struct sequence_request {
  std::vector<stream_source> sources{};
  std::vector<sequence_layer> layers{};           ///< in the order in which they run
  std::optional<uint64_t> device_budget_bytes{};  ///< none: what models may take of the device
  layer_plan_options planning{};
  std::chrono::milliseconds acquire_timeout = std::chrono::minutes{1};
  size_t queued_layers_most = 2;                       ///< whose work on the device may not be over
  uint64_t room_when_short_bytes = uint64_t{1} << 62;  ///< of weights, to be freed for a layer short of memory
};

class streamed_sequence {
public:
  /// Opens files. As `runtime::stream`; `unsupported` too for tensors that torch has no form for, and for a device that
  /// this torch was built without; `bad_argument` for a layer with two weights of one name.
  static expected<std::unique_ptr<streamed_sequence>> make(runtime& loader, sequence_request request);
  ~streamed_sequence();  ///< waits for the work that is queued on the device
  streamed_sequence(const streamed_sequence&) = delete;
  streamed_sequence& operator=(const streamed_sequence&) = delete;

  /// A pass: each layer gets what the one before gave.
  expected<at::Tensor> forward(at::Tensor input);

  /// A pass through some of the layers, by number, each as often as it is named.
  expected<at::Tensor> forward(at::Tensor input, std::span<const uint32_t> order);

  /// The next pass is soon; as streamed_model has these.
  void expect_pass() { model_->expect_pass(); }
  expected<stream_resized> resize(uint64_t budget_bytes) { return model_->resize(budget_bytes); }
  expected<stream_resized> make_room(uint64_t bytes) { return model_->make_room(bytes); }
  expected<stream_status> status() { return model_->status(); }
  const layer_plan& plan() const { return model_->plan(); }

private:
  struct queued_layer {
    queue_mark end;
    std::shared_ptr<layer_use> use;
  };

  streamed_sequence(sequence_request request, std::string device_name, std::unique_ptr<streamed_model> model)
      : request_(std::move(request)), device_name_(std::move(device_name)), model_(std::move(model)) {}
  expected<void> find_forms();
  expected<at::Tensor> run(uint32_t layer, const at::Tensor& input, const stream_ptr& stream);
  at::Tensor run_with_room(uint32_t layer, const at::Tensor& input, const named_tensors& weights);
  expected<std::shared_ptr<layer_use>> acquire(uint32_t layer);
  named_tensors weights_of(uint32_t layer, const layer_use& use, const std::shared_ptr<const memory_hold>& held) const;
  void end_oldest();

  const sequence_request request_;
  const std::string device_name_;
  std::unique_ptr<streamed_model> model_;
  std::vector<std::vector<torch_form>> forms_;  // by layer, of its tensors
  std::deque<queued_layer> queued_;             // the oldest first; none where work is over when a call returns
};

}  // namespace longshore
