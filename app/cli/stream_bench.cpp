#include "app/cli/stream_bench.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>

#include "actors/runtime.hpp"
#include "gpu/host_device.hpp"
#include "io/open_model.hpp"

namespace longshore {
namespace {

using steady = std::chrono::steady_clock;

/// A compute engine: one thing after the other, each as long as it is told to take.
class paced_compute {
public:
  void run(std::chrono::nanoseconds duration) {
    free_at_ = std::max(free_at_, steady::now() - late_most) + duration;
    std::this_thread::sleep_until(free_at_);
  }

private:
  static constexpr std::chrono::milliseconds late_most{1};  // a thread wakes late, a device would not
  steady::time_point free_at_{};
};

/// The block of a model that a tensor belongs to: its name up to the number of the innermost of its "...blocks.N." or
/// "...layers.N."; of a tensor outside of all of them, its first part.
std::string_view block_of(std::string_view name) {
  auto block = name.substr(0, name.find('.'));
  for (size_t dot = name.find('.'); dot != std::string_view::npos; dot = name.find('.', dot + 1)) {
    const auto digits = name.find_first_not_of("0123456789", dot + 1);
    const bool is_number = digits != std::string_view::npos && digits > dot + 1 && name[digits] == '.';
    const auto parent = name.substr(0, dot);
    if (is_number && (parent.ends_with("blocks") || parent.ends_with("layers")))
      block = name.substr(0, digits);
  }
  return block;
}

/// `layers`: cut into so many of like size, whatever they are; 0: the model's own blocks.
std::vector<layer_spec> cut_into_layers(const safetensors_header& header, size_t layers) {
  const auto total = header.tensors.empty() ? 0 : header.tensors.back().end_bytes;
  std::vector<layer_spec> cut;
  for (const auto& tensor : header.tensors) {
    const auto due = std::min<size_t>(layers, 1 + (tensor.begin_bytes * layers) / std::max<uint64_t>(total, 1));
    const auto name = layers == 0 ? std::string{block_of(tensor.name)} : "layer " + std::to_string(cut.size());
    if (layers == 0 ? cut.empty() || cut.back().name != name : cut.size() < due)
      cut.push_back({.name = name, .tensors = {}});
    cut.back().tensors.push_back({0, tensor.name});
  }
  return cut;
}

hold_choice hold_of(stream_origin origin) {
  return origin == stream_origin::pinned  ? hold_choice::pinned
         : origin == stream_origin::owned ? hold_choice::owned
                                          : hold_choice::mapped;
}

struct prepared_stream {
  std::unique_ptr<runtime> loader;
  std::unique_ptr<streamed_model> model;  // ends before the runtime
  std::vector<uint64_t> layer_bytes;
  uint64_t model_bytes = 0;
  uint64_t budget_bytes = 0;
};

std::vector<uint64_t> bytes_of_layers(const safetensors_header& header, const std::vector<layer_spec>& layers) {
  std::vector<uint64_t> bytes;
  size_t tensor = 0;
  for (const auto& layer : layers) {
    bytes.push_back(0);
    for (size_t i = 0; i < layer.tensors.size(); ++i)
      bytes.back() += header.tensors[tensor++].size_bytes();
  }
  return bytes;
}

expected<prepared_stream> prepare(const stream_case& wanted) {
  auto source = find_source({wanted.path}, {.hold = hold_of(wanted.origin)});
  if (!source)
    return tl::unexpected(source.error());
  const auto opened = open_model(source->files.front());
  if (!opened)
    return tl::unexpected(opened.error());
  stream_request request;
  request.layers = cut_into_layers(*opened->header, wanted.layers);
  prepared_stream made;
  made.layer_bytes = bytes_of_layers(*opened->header, request.layers);
  for (const auto bytes : made.layer_bytes)
    made.model_bytes += bytes;
  // Room for the gaps between tensors: the whole model shall fit where its whole size is asked for.
  const auto gaps_bytes = (opened->header->tensors.size() + 1) * device::alignment_bytes;
  made.budget_bytes = static_cast<uint64_t>(wanted.budget_share * static_cast<double>(made.model_bytes)) + gaps_bytes;
  runtime_options options;
  const auto capacity_bytes = made.budget_bytes + options.holder.chunk_bytes;
  options.target = std::make_shared<host_device>(
      host_device_options{.capacity_bytes = capacity_bytes,
                          .ready_bytes = capacity_bytes,
                          .link_bytes_per_s = static_cast<uint64_t>(wanted.link_bytes_per_s)});
  options.device_is_shared = false;
  options.trace_path = wanted.trace_path;
  if (wanted.origin == stream_origin::pinned)
    options.pin_budget_bytes = opened->file.size_bytes() + 2 * options.staging_bytes;
  auto started = runtime::start(std::move(options));
  if (!started)
    return tl::unexpected(started.error());
  made.loader = std::move(*started);
  request.sources = {{.files = *source}};
  request.device_budget_bytes = made.budget_bytes;
  if (wanted.origin != stream_origin::disk) {
    auto lease = made.loader->load({.key = wanted.path, .kind = model_kind::data, .source = *source});
    if (!lease)
      return tl::unexpected(lease.error());
    request.sources.front().copy = lease->lease;
  }
  auto model = made.loader->stream(request);
  if (!model)
    return tl::unexpected(model.error());
  made.model = std::move(*model);
  return made;
}

}  // namespace

expected<stream_result> measure_stream(const stream_case& wanted, const std::function<bool()>& go_on) {
  auto prepared = prepare(wanted);
  if (!prepared)
    return tl::unexpected(prepared.error());
  auto& model = *prepared->model;
  stream_result result{.model_bytes = prepared->model_bytes,
                       .budget_bytes = prepared->budget_bytes,
                       .layers = prepared->layer_bytes.size()};
  result.compute_seconds = static_cast<double>(prepared->model_bytes) / wanted.compute_bytes_per_s;
  paced_compute compute;
  auto moved_before = uint64_t{0};
  for (unsigned pass = 0; pass < wanted.passes + 2; ++pass) {
    const auto begin = steady::now();
    model.begin_pass();
    for (uint32_t layer = 0; layer < prepared->layer_bytes.size(); ++layer) {
      if (!go_on())
        return unexpected(error{.code = errc::cancelled, .what = "the benchmark was stopped"});
      const auto use = model.acquire(layer);
      if (!use)
        return tl::unexpected(use.error());
      compute.run(std::chrono::nanoseconds{
          static_cast<int64_t>(static_cast<double>(prepared->layer_bytes[layer]) * 1e9 / wanted.compute_bytes_per_s)});
    }
    const std::chrono::duration<double> took = steady::now() - begin;
    auto status = model.status();
    if (!status)
      return tl::unexpected(status.error());
    if (pass >= 2)
      result.passes.push_back({took.count(), status->counts.moved_bytes - moved_before});
    moved_before = status->counts.moved_bytes;
    result.status = std::move(*status);
  }
  return result;
}

}  // namespace longshore
