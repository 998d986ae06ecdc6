#include "app/python/runtime_handle.hpp"

#include <array>
#include <atomic>
#include <new>
#include <optional>
#include <system_error>
#include <thread>

#include <unistd.h>

namespace longshore::python {
namespace {

constexpr std::chrono::milliseconds look_up_interval{20};
constexpr std::chrono::seconds close_timeout{60};

/// The process in which the first runtime began; 0 before.
std::atomic<pid_t>& home_process() {
  static std::atomic<pid_t> process{0};
  return process;
}

error forked() {
  return {.code = errc::unsupported,
          .what =
              "longshore was started before this process was forked, and its threads did not come along; start "
              "worker processes with the method 'spawn' or 'forkserver'"};
}

/// What one load leaves for whoever waits for it.
struct outcome {
  std::mutex mutex;
  std::condition_variable came;
  std::optional<expected<shared_lease>> lease;

  void put(expected<shared_lease> result) {
    const std::lock_guard guard{mutex};
    lease = std::move(result);
    came.notify_all();
  }

  bool wait() {
    std::unique_lock lock{mutex};
    return came.wait_for(lock, look_up_interval, [&] { return lease.has_value(); });
  }
};

/// Never freed, from now on: one of its counts is never given back.
template <class T>
void leak(const std::shared_ptr<T>& kept) noexcept {
  alignas(std::shared_ptr<T>) std::array<std::byte, sizeof(std::shared_ptr<T>)> room;
  new (room.data()) std::shared_ptr<T>(kept);
}

/// A lease that a forked child never gives back: its registry's threads are the parent's.
shared_lease guarded(shared_lease lease, pid_t process) {
  const auto* inner = lease.get();
  return {inner, [lease = std::move(lease), process](const model_lease*) {
            if (getpid() != process)
              leak(lease);
          }};
}

std::string key_of(const load_order& order) {
  if (!order.key.empty())
    return order.key;
  std::string key;
  for (const auto& path : order.paths)
    key += (key.empty() ? "" : "\n") + path;
  return key;
}

/// A request whose files no other request takes for its own: files are shared when they are equal in `cast_to` too, and
/// that means nothing for files in host memory.
void set_apart(get_model& request) {
  static std::atomic<uint64_t> count{0};
  const auto mark = "alone " + std::to_string(++count);
  request.key += " (" + mark + ")";
  request.mode = cache_mode::override_cache;
  for (auto& file : request.source.files)
    file.cast_to = mark;
}

expected<shared_lease> load_now(runtime& loader, const load_order& order, pid_t process) {
  auto source = find_source(order.paths, {.hold = order.hold});
  if (!source)
    return unexpected(source.error());
  get_model request{
      .key = key_of(order), .kind = model_kind::data, .source = std::move(*source), .deadline = order.deadline};
  if (order.alone)
    set_apart(request);
  auto answer = loader.load(request);
  if (!answer)
    return unexpected(answer.error());
  if (order.alone)
    std::ignore = loader.remove(request.key);  // the lease keeps it; evicted already is as good
  return guarded(std::move(answer->lease), process);
}

}  // namespace

/// Counts as a running load while it lives.
std::shared_ptr<void> runtime_handle::count_one(const std::shared_ptr<loads>& all) {
  {
    const std::lock_guard guard{all->mutex};
    ++all->running;
  }
  return {nullptr, [all](void*) {
            const std::lock_guard guard{all->mutex};
            --all->running;
            all->changed.notify_all();
          }};
}

bool runtime_handle::in_forked_child() {
  const auto home = home_process().load();
  return home != 0 && home != getpid();
}

expected<std::unique_ptr<runtime_handle>> runtime_handle::start(runtime_options options) {
  pid_t nobody = 0;
  if (!home_process().compare_exchange_strong(nobody, getpid()) && nobody != getpid())
    return unexpected(forked());
  auto started = runtime::start(std::move(options));
  if (!started)
    return unexpected(started.error());
  return std::unique_ptr<runtime_handle>(new runtime_handle(std::move(*started)));
}

runtime_handle::runtime_handle(std::unique_ptr<runtime> started) : runtime_(std::move(started)), process_(getpid()) {}

runtime_handle::~runtime_handle() {
  if (getpid() == process_)
    close();
  else
    leak(runtime_);
}

expected<std::shared_ptr<runtime>> runtime_handle::get() {
  if (getpid() != process_)
    return unexpected(forked());
  const std::lock_guard guard{mutex_};
  if (!runtime_)
    return unexpected(error{.code = errc::stopped, .what = "the runtime is closed"});
  return runtime_;
}

expected<shared_lease> runtime_handle::load(load_order order, const std::function<bool()>& go_on) {
  auto counted = count_one(loads_);  // before it has the runtime, so that `close` never misses it
  auto running = get();
  if (!running)
    return unexpected(running.error());
  auto result = std::make_shared<outcome>();
  auto work = [result, counted = std::move(counted), loader = std::move(*running), order = std::move(order),
               process = process_]() mutable {
    result->put(load_now(*loader, order, process));
    result.reset();  // a lease that nobody waits for any more ends here, before the runtime does
    loader.reset();
    counted.reset();
  };
  try {
    std::thread(std::move(work)).detach();
  } catch (const std::system_error& refused) {
    return unexpected(error{
        .code = errc::overloaded, .what = "the system has no thread for a load", .os_error = refused.code().value()});
  }
  while (!result->wait())
    if (!go_on())
      return unexpected(error{.code = errc::cancelled, .what = "the load was interrupted"});
  return std::move(*result->lease);
}

void runtime_handle::close() {
  if (getpid() != process_)
    return;
  std::shared_ptr<runtime> ending;
  {
    const std::lock_guard guard{mutex_};
    ending = std::exchange(runtime_, nullptr);
  }
  if (!ending)
    return;
  std::ignore = ending->stop();
  std::unique_lock lock{loads_->mutex};
  loads_->changed.wait_for(lock, close_timeout, [&] { return loads_->running == 0; });
}

expected<std::string> runtime_handle::engine_name() {
  return get().map([](const auto& running) { return std::string{running->engine_name()}; });
}

expected<uint64_t> runtime_handle::host_limit_bytes() {
  return get().map([](const auto& running) { return running->host_limit_bytes(); });
}

}  // namespace longshore::python
