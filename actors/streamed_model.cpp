#include "actors/streamed_model.hpp"

#include <utility>

#include <caf/send.hpp>

#include "actors/calling_thread.hpp"
#include "actors/file_load.hpp"
#include "actors/weight_streamer.hpp"

namespace longshore {
namespace {

constexpr auto quick_timeout = std::chrono::seconds{30};
constexpr auto answer_slack = std::chrono::seconds{20};  // beyond the deadline that the streamer keeps itself

struct stream_files {
  std::vector<layer_file> of_plan;
  std::vector<streamed_file> of_streamer;
};

expected<void> add_open(stream_files& files, const file_source& source, layer_file part) {
  auto opened = open_model(source);
  if (!opened)
    return tl::unexpected(opened.error());
  auto shared = std::make_shared<const opened_file>(std::move(*opened));
  part.path = source.path;
  part.header = shared->header;
  files.of_plan.push_back(std::move(part));
  files.of_streamer.push_back({.path = source.path, .file = std::move(shared)});
  return {};
}

expected<void> add_copies(stream_files& files, const std::shared_ptr<const model_lease>& lease,
                          const layer_file& part) {
  const auto& model = lease->model();
  for (size_t i = 0; i < model.files.size(); ++i) {
    const auto& held = model.files[i];
    auto holder = caf::actor_cast<caf::actor>(model.lenders[i]);
    if (!holder)
      return unexpected(error{.code = errc::unsupported,
                              .what = "a copy that was cast while it was loaded cannot be streamed; load it as it is",
                              .path = held->path()});
    auto of_copy = part;
    of_copy.path = held->path();
    of_copy.header = {held, &held->header()};
    files.of_plan.push_back(std::move(of_copy));
    files.of_streamer.push_back({.path = held->path(), .host_copy = std::move(holder), .keep = lease});
  }
  return {};
}

expected<stream_files> find_files(const std::vector<stream_source>& sources) {
  stream_files files;
  for (uint32_t i = 0; i < sources.size(); ++i) {
    const auto rule = cast_rule::parse(sources[i].cast_to);
    if (!rule)
      return tl::unexpected(rule.error());
    const layer_file part{.source = i, .rule = *rule};
    if (sources[i].copy) {
      if (auto added = add_copies(files, sources[i].copy, part); !added)
        return tl::unexpected(added.error());
      continue;
    }
    for (const auto& source : sources[i].files.files)
      if (auto added = add_open(files, source, part); !added)
        return tl::unexpected(added.error());
  }
  return files;
}

}  // namespace

expected<stream_parts> spawn_stream(caf::actor_system& system, const stream_request& request,
                                    const holder_services& services, uint64_t number, uint64_t budget_bytes) {
  if (services.lanes.empty())
    return unexpected(error{.code = errc::unsupported, .what = "there is no device to stream layers to"});
  auto files = find_files(request.sources);
  if (!files)
    return tl::unexpected(files.error());
  auto plan = plan_layers(files->of_plan, request.layers, request.planning);
  if (!plan)
    return tl::unexpected(plan.error());
  bool is_cast = false;
  for (const auto& source : request.sources)
    is_cast = is_cast || !source.cast_to.empty();
  stream_parts parts{.plan = std::make_shared<const layer_plan>(std::move(*plan))};
  parts.streamer = spawn_weight_streamer(system, parts.plan, std::move(files->of_streamer), services,
                                         services.lanes[number % services.lanes.size()],
                                         {.budget_bytes = budget_bytes,
                                          .load = number,
                                          .credits = services.options.credits,
                                          .reading = planning(services.options, is_cast)});
  return parts;
}

streamed_model::~streamed_model() { caf::anon_send_exit(streamer_, caf::exit_reason::user_shutdown); }

expected<std::shared_ptr<layer_use>> streamed_model::acquire(uint32_t layer, bool on_device,
                                                             std::function<bool()> goes_on) {
  auto answer = ask<layer_answer>(system_, streamer_, acquire_timeout_ + answer_slack,
                                  acquire_layer{.layer = layer, .on_device = on_device, .deadline = acquire_timeout_},
                                  {.goes_on = std::move(goes_on)});
  if (!answer)
    return tl::unexpected(answer.error());
  if (!answer->use)
    return unexpected(answer->reason);
  return std::move(answer->use);
}

void streamed_model::begin_pass() { caf::anon_send(streamer_, longshore::begin_pass{}); }

void streamed_model::expect_pass() { caf::anon_send(streamer_, longshore::expect_pass{}); }

expected<stream_resized> streamed_model::resize(uint64_t budget_bytes) {
  return ask<stream_resized>(system_, streamer_, quick_timeout, resize_stream{budget_bytes});
}

expected<stream_resized> streamed_model::make_room(uint64_t bytes) {
  return ask<stream_resized>(system_, streamer_, quick_timeout, longshore::make_room{.bytes = bytes, .for_good = true});
}

expected<stream_status> streamed_model::status() {
  return ask<stream_status>(system_, streamer_, quick_timeout, show_stream{});
}

}  // namespace longshore
