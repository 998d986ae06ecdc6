#include "app/torch/streamed_sequence.hpp"

#include <numeric>
#include <set>
#include <utility>

#include <ATen/core/Tensor.h>
#include <c10/core/Stream.h>
#include <c10/util/Exception.h>

namespace longshore {
namespace {

expected<void> check_layer(const sequence_layer& layer) {
  const auto fault = [&](std::string what) {
    return unexpected(error{.code = errc::bad_argument, .what = std::move(what), .where = "layer " + layer.name});
  };
  if (!layer.run)
    return fault("the layer has no function");
  std::set<std::string_view> names;
  for (const auto& tensor : layer.tensors)
    if (!names.insert(tensor.name).second)
      return fault("the layer has two weights of the name " + tensor.name);
  return {};
}

stream_request streamed(const sequence_request& request) {
  stream_request wanted{.sources = request.sources,
                        .device_budget_bytes = request.device_budget_bytes,
                        .planning = request.planning,
                        .acquire_timeout = request.acquire_timeout};
  for (const auto& layer : request.layers)
    wanted.layers.push_back({.name = layer.name, .tensors = layer.tensors});
  return wanted;
}

}  // namespace

expected<std::unique_ptr<streamed_sequence>> streamed_sequence::make(runtime& loader, sequence_request request) {
  for (const auto& layer : request.layers)
    if (auto good = check_layer(layer); !good)
      return tl::unexpected(good.error());
  auto model = loader.stream(streamed(request));
  if (!model)
    return tl::unexpected(model.error());
  if (auto stream = compute_stream(loader.device_name()); !stream)
    return tl::unexpected(stream.error());
  std::unique_ptr<streamed_sequence> made{
      new streamed_sequence{std::move(request), loader.device_name(), std::move(*model)}};
  if (auto found = made->find_forms(); !found)
    return tl::unexpected(found.error());
  return made;
}

expected<void> streamed_sequence::find_forms() {
  for (const auto& layer : plan().layers) {
    auto& forms = forms_.emplace_back();
    for (const auto& tensor : layer.tensors) {
      auto form = form_of(tensor.info, {});
      if (!form)
        return tl::unexpected(form.error());
      forms.push_back(std::move(*form));
    }
  }
  return {};
}

streamed_sequence::~streamed_sequence() {
  while (!queued_.empty())
    end_oldest();
}

expected<at::Tensor> streamed_sequence::forward(at::Tensor input) {
  std::vector<uint32_t> all(request_.layers.size());
  std::iota(all.begin(), all.end(), 0U);
  return forward(std::move(input), all);
}

expected<at::Tensor> streamed_sequence::forward(at::Tensor input, std::span<const uint32_t> order) {
  for (const auto layer : order)
    if (layer >= request_.layers.size())
      return unexpected(
          error{.code = errc::bad_argument, .what = "the sequence has no layer " + std::to_string(layer)});
  const auto stream = compute_stream(device_name_);
  if (!stream)
    return tl::unexpected(stream.error());
  model_->begin_pass();
  for (const auto layer : order) {
    auto output = run(layer, input, *stream);
    if (!output)
      return output;
    input = std::move(*output);
  }
  return input;
}

/// However the layer ends, its place is given back behind what it queued.
expected<at::Tensor> streamed_sequence::run(uint32_t layer, const at::Tensor& input, const stream_ptr& stream) {
  auto use = acquire(layer);
  if (!use)
    return tl::unexpected(use.error());
  using all_blocks = std::vector<std::shared_ptr<const device_block>>;
  auto held = std::make_shared<memory_hold>(std::make_shared<const all_blocks>((*use)->blocks()), stream);
  auto weights = weights_of(layer, **use, held);
  const auto give_back = [&] {
    weights.clear();
    if (held.use_count() == 1)
      held->let_go();  // else a tensor was kept, and waits for the stream itself when it goes
    held.reset();
    if (stream)
      queued_.push_back({queue_mark{*stream}, std::move(*use)});
    else
      (*use)->end(nullptr);
  };
  try {
    auto output = run_with_room(layer, input, weights);
    give_back();
    return output;
  } catch (...) {
    give_back();
    throw;
  }
}

at::Tensor streamed_sequence::run_with_room(uint32_t layer, const at::Tensor& input, const named_tensors& weights) {
  const auto& function = request_.layers[layer].run;
  try {
    return function(input, weights);
  } catch (const c10::OutOfMemoryError&) {
    while (!queued_.empty())
      end_oldest();
    if (!model_->make_room(request_.room_when_short_bytes))
      throw;
  }
  return function(input, weights);
}

/// Work that is over on the device in the meantime makes room for a layer for which there was none.
expected<std::shared_ptr<layer_use>> streamed_sequence::acquire(uint32_t layer) {
  while (!queued_.empty() && queued_.size() >= request_.queued_layers_most)
    end_oldest();
  auto use = model_->acquire(layer);
  while (!use && use.error().code == errc::out_of_budget && !queued_.empty()) {
    end_oldest();
    use = model_->acquire(layer);
  }
  return use;
}

named_tensors streamed_sequence::weights_of(uint32_t layer, const layer_use& use,
                                            const std::shared_ptr<const memory_hold>& held) const {
  const auto& tensors = plan().layers[layer].tensors;
  named_tensors weights;
  for (size_t i = 0; i < tensors.size(); ++i)
    weights.emplace(tensors[i].info.name, view(reinterpret_cast<void*>(use.addresses()[i]), forms_[layer][i], held));
  return weights;
}

void streamed_sequence::end_oldest() {
  queued_.front().end.wait();
  queued_.front().use->end(nullptr);
  queued_.pop_front();
}

}  // namespace longshore
