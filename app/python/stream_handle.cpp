#include "app/python/stream_handle.hpp"

#include "app/python/fork_guard.hpp"

namespace longshore::python {
namespace {

expected<stream_source> source_of(const source_order& order) {
  stream_source source{.cast_to = order.cast_to};
  if (order.copy) {
    const auto& answer = order.copy->result();
    if (!answer)
      return unexpected(answer.error());
    source.copy = answer->lease;
    return source;
  }
  auto files = find_source(order.paths);
  if (!files)
    return unexpected(files.error());
  source.files = std::move(*files);
  return source;
}

}  // namespace

expected<std::unique_ptr<stream_handle>> stream_handle::open(runtime_handle& runtime,
                                                             const std::vector<source_order>& sources,
                                                             stream_request request, std::string device) {
  for (const auto& order : sources) {
    auto source = source_of(order);
    if (!source)
      return unexpected(source.error());
    request.sources.push_back(std::move(*source));
  }
  auto running = runtime.get();
  if (!running)
    return unexpected(running.error());
  auto model = (*running)->stream(request);
  if (!model)
    return unexpected(model.error());
  auto opened = std::make_shared<parts>(parts{std::move(*running), std::move(*model)});
  return std::unique_ptr<stream_handle>(new stream_handle(std::move(opened), std::move(device)));
}

stream_handle::~stream_handle() {
  if (getpid() != process_)
    leak(opened_);
}

expected<std::shared_ptr<streamed_model>> stream_handle::get() {
  if (getpid() != process_)
    return unexpected(runtime_handle::forked());
  const std::lock_guard guard{mutex_};
  if (!opened_)
    return unexpected(error{.code = errc::stopped, .what = "the stream is closed"});
  return std::shared_ptr<streamed_model>{opened_, opened_->model.get()};
}

expected<std::shared_ptr<layer_use>> stream_handle::acquire(uint32_t layer, std::function<bool()> goes_on) {
  const auto model = get();
  if (!model)
    return unexpected(model.error());
  auto use = (*model)->acquire(layer, false, std::move(goes_on));
  if (!use)
    return unexpected(use.error());
  return guarded(std::move(*use), process_);
}

void stream_handle::close() {
  if (getpid() != process_)
    return;
  std::shared_ptr<parts> ending;  // outlives the lock
  const std::lock_guard guard{mutex_};
  ending = std::exchange(opened_, nullptr);
}

}  // namespace longshore::python
