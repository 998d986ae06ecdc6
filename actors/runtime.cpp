#include "actors/runtime.hpp"

#include <algorithm>
#include <thread>

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/send.hpp>

#include "actors/block_keeper.hpp"
#include "actors/cache_registry.hpp"
#include "actors/calling_thread.hpp"
#include "actors/device_lanes.hpp"
#include "actors/disk_reader.hpp"
#include "actors/host_casting.hpp"
#include "actors/host_copier.hpp"
#include "actors/pin_arbiter.hpp"
#include "actors/preloader.hpp"
#include "actors/pressure_monitor.hpp"
#include "actors/stream_keeper.hpp"
#include "actors/traced_actor.hpp"
#include "actors/tracer.hpp"
#include "io/memory_limit.hpp"
#include "io/memory_pressure.hpp"
#include "messages/trace.hpp"

namespace longshore {
namespace {

/// As many threads as cores, but at least two and not more than a few: of an actor system, and of casts.
size_t few_threads() { return std::clamp(std::thread::hardware_concurrency(), 2U, 4U); }

/// Completions come from threads outside; with this policy they wake an idle worker in 4 us instead of 17, and the
/// bound keeps a chatty actor from starving the rest.
struct system_config : caf::actor_system_config {
  system_config() {
    set("scheduler.policy", caf::atom("sharing"));
    set("scheduler.max-throughput", size_t{50});
    set("scheduler.max-threads", few_threads());
  }
};

struct listener_state {
  static constexpr const char* name = "listener";
};

/// Beyond the deadlines that the actors keep themselves: only an actor that is gone makes a caller wait so long.
constexpr auto answer_slack = std::chrono::seconds{20};
/// Streams are numbered like loads, for the disk reader and the stager, from where no file's number comes.
constexpr uint64_t first_stream = 1ULL << 31;

constexpr auto quick_timeout = std::chrono::seconds{30};

expected<uint64_t> effective_host_limit(const runtime_options& options) {
  if (options.host_limit_bytes > 0)
    return options.host_limit_bytes;
  auto limit = effective_memory_limit();
  if (!limit)
    return tl::unexpected(limit.error());
  return default_host_limit_bytes(*limit);
}

device_lane_options lane_options_of(const runtime_options& options) {
  return {
      .streams = options.streams, .staging_bytes = options.staging_bytes, .chunk_bytes = options.holder.chunk_bytes};
}

/// What models may take of the device: what is free now, less the scratch memory of uploads, one a stream, and, where
/// others use it too, less what shall stay free for them. 0 without a
/// device.
expected<uint64_t> usable_device_bytes(const runtime_options& options, uint64_t host_limit_bytes) {
  if (!options.target)
    return 0;
  if (auto room = check_staging(lane_options_of(options), host_limit_bytes); !room)
    return unexpected(room.error());
  const auto memory = options.target->memory();
  if (!memory)
    return unexpected(memory.error());
  const auto marks = marks_of(memory->total_bytes, options.pressure);
  const auto left_bytes = options.streams * options.holder.chunk_bytes +
                          (options.device_is_shared ? marks.low_bytes + marks.slack_bytes : 0);
  return memory->free_bytes - std::min(memory->free_bytes, left_bytes);
}

}  // namespace

struct runtime::parts {
  runtime_options options;
  uint64_t host_limit_bytes = 0;
  uint64_t device_limit_bytes = 0;
  std::string engine_name;
  std::shared_ptr<arena_pool> pool;
  system_config config;
  caf::actor_system system{config};
  caf::actor listener, tracer, reader, registry, preloader;
  caf::actor arbiter, keeper;
  caf::actor monitor;              // null where the machine's memory is not watched
  std::vector<device_lane> lanes;  // none without a device
  caf::actor copier;               // null without a device
  host_casting casting;
  holder_services services;
  bool stopped = false;

  void spawn_monitor();
  void spawn_all(std::unique_ptr<read_engine> engine, std::shared_ptr<completion_callback> on_complete);
  template <class Answer, class Message>
  expected<Answer> ask(const caf::actor& whom, std::chrono::milliseconds timeout, const Message& message) {
    return longshore::ask<Answer>(system, whom, timeout, message);
  }
};

namespace {

expected<void> as_result(const expected<cache_answer>& answer) {
  if (!answer)
    return unexpected(answer.error());
  if (!answer->done)
    return unexpected(answer->reason);
  return {};
}

/// Of an answer whose reason says whether anything went wrong.
template <class Answer>
expected<void> reason_as_result(const expected<Answer>& answer) {
  if (!answer)
    return unexpected(answer.error());
  if (answer->reason.code != errc{})
    return unexpected(answer->reason);
  return {};
}

}  // namespace

/// The engine was made before its reader exists, so its completions go where `on_complete` will point.
void runtime::parts::spawn_all(std::unique_ptr<read_engine> engine, std::shared_ptr<completion_callback> on_complete) {
  engine_name = engine->name();
  if (options.on_progress)
    listener = system.spawn([tell = options.on_progress](traced_actor<listener_state>*) -> caf::behavior {
      return {[=](const load_progress& progress) { tell(progress); }};
    });
  auto shared = std::make_shared<std::unique_ptr<read_engine>>(std::move(engine));
  reader = spawn_disk_reader(system, [shared, on_complete](completion_callback callback) {
    *on_complete = std::move(callback);
    return std::move(*shared);
  });
  const auto pin_limit_bytes = std::min(options.pin_budget_bytes.value_or(host_limit_bytes / 2), host_limit_bytes);
  arbiter = spawn_pin_arbiter(system, {.host_limit_bytes = host_limit_bytes, .pin_limit_bytes = pin_limit_bytes});
  if (options.target) {
    lanes = spawn_device_lanes(system, options.target, pool, arbiter, lane_options_of(options));
    copier = spawn_host_copier(system, true);
  }
  casting = spawn_host_casting(system, pool, arbiter,
                               {.casters = few_threads(),
                                .scratch_bytes = std::min<uint64_t>(64 << 20, host_limit_bytes / 8),
                                .chunk_bytes = options.holder.chunk_bytes});
  options.holder.memory_timeout = options.memory_timeout;
  services = {.reader = reader,
              .arbiter = arbiter,
              .listener = listener,
              .pool = pool,
              .options = options.holder,
              .target = options.target,
              .lanes = lanes,
              .copier = copier,
              .casting = casting};
  registry =
      spawn_cache_registry(system,
                           {.limits = {.host_limit_bytes = host_limit_bytes, .device_limit_bytes = device_limit_bytes},
                            .memory_timeout = options.memory_timeout},
                           services);
  preloader = spawn_preloader(system, registry);
  if (options.target)
    services.keeper = spawn_stream_keeper(system, registry);
  keeper = spawn_block_keeper(system, arbiter,
                              {.on_kept = [p = pool, room = std::shared_ptr<const void>{}](uint64_t bytes) mutable {
                                room.reset();
                                room = p->leave_room(bytes);
                              }});
}

/// A system that cannot tell how short of memory it is is not watched.
void runtime::parts::spawn_monitor() {
  auto sampler = options.memory_sampler;
  if (!sampler) {
    auto source = memory_pressure_source::find();
    if (!source)
      return;
    sampler = sampler_of(std::move(*source), options.device_is_shared ? options.target : nullptr);
  }
  monitor = spawn_pressure_monitor(system, std::move(sampler), arbiter, {registry, services.keeper},
                                   {.interval = options.pressure_interval,
                                    .give_back_idle = [p = pool] { return p->give_back_idle(); },
                                    .settings = options.pressure});
}

expected<std::unique_ptr<runtime>> runtime::start(runtime_options options) {
  const auto limit = effective_host_limit(options);
  if (!limit)
    return tl::unexpected(limit.error());
  // Made here so that a refusal is the caller's error and not an actor's death.
  auto on_complete = std::make_shared<completion_callback>();
  auto engine = make_read_engine(options.engine, [on_complete](const read_completion& c) { (*on_complete)(c); });
  if (!engine)
    return tl::unexpected(engine.error());
  const auto device_bytes = usable_device_bytes(options, *limit);
  if (!device_bytes)
    return tl::unexpected(device_bytes.error());
  auto p = std::make_unique<parts>();
  p->options = std::move(options);
  p->host_limit_bytes = *limit;
  p->pool = arena_pool::make(*limit, std::min(p->options.warm_bytes, *limit));
  p->device_limit_bytes = *device_bytes;
  p->tracer = spawn_tracer(p->system);
  p->spawn_all(std::move(*engine), std::move(on_complete));
  if (p->options.pressure_interval.count() > 0)
    p->spawn_monitor();
  const auto trace_path = p->options.trace_path;
  std::unique_ptr<runtime> started(new runtime(std::move(p)));
  if (auto traces = trace_path.empty() ? expected<void>{} : started->begin_trace(trace_path); !traces)
    return unexpected(traces.error());
  return started;
}

runtime::runtime(std::unique_ptr<parts> p) : parts_(std::move(p)) {}

runtime::~runtime() {
  if (!parts_->stopped)
    std::ignore = stop();
}

expected<model_answer> runtime::load(const get_model& request) {
  auto answer = parts_->ask<model_answer>(parts_->registry, request.deadline + answer_slack, request);
  if (answer && !answer->lease)
    return unexpected(answer->reason);
  return answer;
}

expected<model_answer> runtime::put(const put_object& object) {
  auto answer = parts_->ask<model_answer>(parts_->registry, object.deadline + answer_slack, object);
  if (answer && !answer->lease)
    return unexpected(answer->reason);
  return answer;
}

load_handle runtime::begin(const lease_request& request, load_callback on_answer) {
  return load_handle{caf::actor_cast<caf::weak_actor_ptr>(
      spawn_load_client(parts_->system, parts_->registry, request, std::move(on_answer)))};
}

void load_handle::cancel() const {
  if (const auto alive = caf::actor_cast<caf::actor>(client_))
    caf::anon_send(alive, cancel_request{});
}

expected<std::unique_ptr<streamed_model>> runtime::stream(const stream_request& request) {
  auto& p = *parts_;
  const auto made = spawn_stream(p.system, request, p.services, first_stream + p.system.next_actor_id(),
                                 request.device_budget_bytes.value_or(p.device_limit_bytes));
  if (!made)
    return tl::unexpected(made.error());
  return std::make_unique<streamed_model>(p.system, made->streamer, made->plan, request.acquire_timeout);
}

expected<std::vector<preload_outcome>> runtime::preload(std::vector<preload_item> items) {
  auto timeout = std::chrono::milliseconds{answer_slack};
  for (const auto& item : items)
    timeout += item.request.deadline + answer_slack;
  auto done = parts_->ask<preload_done>(parts_->preloader, timeout, preload_models{.items = std::move(items)});
  if (!done)
    return tl::unexpected(done.error());
  return std::move(done->outcomes);
}

expected<void> runtime::remove(const std::string& key) {
  return as_result(parts_->ask<cache_answer>(parts_->registry, quick_timeout, remove_model{key}));
}

expected<void> runtime::clear() {
  return as_result(parts_->ask<cache_answer>(parts_->registry, quick_timeout, clear_models{}));
}

expected<void> runtime::keep(const std::string& key, bool keep) {
  return as_result(parts_->ask<cache_answer>(parts_->registry, quick_timeout, keep_model{key, keep}));
}

expected<model_list> runtime::list() { return parts_->ask<model_list>(parts_->registry, quick_timeout, list_models{}); }

expected<uint64_t> runtime::generation(const std::string& key) {
  return parts_->ask<key_generation>(parts_->registry, quick_timeout, ask_generation{key}).map([](const auto& answer) {
    return answer.generation;
  });
}

void runtime::cancel_all() { caf::anon_send(parts_->registry, stop_models{}); }

expected<void> runtime::stop() {
  auto& p = *parts_;
  p.stopped = true;
  auto result = as_result(p.ask<cache_answer>(p.registry, p.options.stop_timeout, stop_models{}));
  if (auto traced = finish_trace(); result)
    result = std::move(traced);
  std::vector<caf::actor> all{p.preloader, p.registry, p.reader};
  for (const auto& lane : p.lanes)
    all.insert(all.end(), {lane.stager, lane.uploader});
  for (const auto& one : p.casting.all())
    all.push_back(one);
  all.insert(all.end(), {p.copier, p.monitor, p.services.keeper, p.keeper, p.arbiter, p.tracer, p.listener});
  for (const auto& actor : all)
    if (actor)
      caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
  return result;
}

expected<void> runtime::begin_trace(const std::string& path) {
  auto opened = perfetto_writer::open(path, tracer_rings::process().names());
  if (!opened)
    return unexpected(opened.error());
  const longshore::begin_trace order{std::make_shared<perfetto_writer>(std::move(*opened))};
  return reason_as_result(parts_->ask<trace_begun>(parts_->tracer, quick_timeout, order));
}

expected<void> runtime::finish_trace() {
  return reason_as_result(
      parts_->ask<trace_finished>(parts_->tracer, parts_->options.stop_timeout, longshore::finish_trace{}));
}

expected<staging_status> runtime::staging() {
  staging_status sum;
  for (const auto& lane : parts_->lanes) {
    const auto status = parts_->ask<staging_status>(lane.stager, quick_timeout, show_staging{});
    if (!status)
      return tl::unexpected(status.error());
    sum.bytes += status->bytes;
    sum.peak_bytes += status->peak_bytes;
    sum.pinned_bytes += status->pinned_bytes;
    sum.pinned_peak_bytes += status->pinned_peak_bytes;
  }
  return sum;
}

expected<pin_status> runtime::budget() { return parts_->ask<pin_status>(parts_->arbiter, quick_timeout, show_pins{}); }

expected<pressure_status> runtime::pressure() {
  if (!parts_->monitor)
    return pressure_status{};
  return parts_->ask<pressure_status>(parts_->monitor, quick_timeout, show_pressure{});
}

expected<std::shared_ptr<const memory_block>> runtime::register_memory(const register_block& block) {
  auto answer = parts_->ask<block_answer>(parts_->keeper, block.deadline + answer_slack, block);
  if (!answer)
    return tl::unexpected(answer.error());
  if (!answer->block)
    return unexpected(answer->reason);
  return answer->block;
}

std::string_view runtime::engine_name() const { return parts_->engine_name; }

std::string runtime::device_name() const {
  return parts_->options.target ? parts_->options.target->name() : std::string{};
}

uint64_t runtime::host_limit_bytes() const { return parts_->host_limit_bytes; }

}  // namespace longshore
