#include "app/python/runtime_handle.hpp"

#include <atomic>
#include <utility>

#include "app/python/fork_guard.hpp"

namespace longshore::python {
namespace {

/// The process in which the first runtime began; 0 before.
std::atomic<pid_t>& home_process() {
  static std::atomic<pid_t> process{0};
  return process;
}

/// Of the same files in another type or place it is another key, or each load would put the other out.
std::string key_of(const load_order& order) {
  if (!order.key.empty())
    return order.key;
  std::string key;
  for (const auto& path : order.paths)
    key += (key.empty() ? "" : "\n") + path;
  if (!order.how.cast_to.empty())
    key += " as " + order.how.cast_to;
  if (order.how.hold == hold_choice::device)
    key += " on the device";
  return key;
}

expected<get_model> request_of(const load_order& order) {
  get_model request{.key = key_of(order),
                    .kind = order.kind.value_or(model_kind::data),
                    .any_kind = !order.kind,
                    .mode = order.mode,
                    .keep = order.keep,
                    .urgent = order.urgent,
                    .deadline = order.deadline};
  if (order.paths.empty() && order.mode == cache_mode::read_only)
    return request;
  auto source = find_source(order.paths, order.how);
  if (!source)
    return unexpected(source.error());
  request.source = std::move(*source);
  return request;
}

}  // namespace

error runtime_handle::forked() {
  return {.code = errc::unsupported,
          .what =
              "longshore was started before this process was forked, and its threads did not come along; start "
              "worker processes with the method 'spawn' or 'forkserver'"};
}

bool runtime_handle::in_forked_child() {
  const auto home = home_process().load();
  return home != 0 && home != getpid();
}

expected<std::unique_ptr<runtime_handle>> runtime_handle::start(runtime_options options) {
  pid_t nobody = 0;
  if (!home_process().compare_exchange_strong(nobody, getpid()) && nobody != getpid())
    return unexpected(forked());
  auto board = std::make_shared<load_board>();
  options.on_progress = [board](const load_progress& news) { board->note(news); };
  auto started = runtime::start(std::move(options));
  if (!started)
    return unexpected(started.error());
  return std::unique_ptr<runtime_handle>(new runtime_handle(std::move(*started), std::move(board)));
}

runtime_handle::runtime_handle(std::unique_ptr<runtime> started, std::shared_ptr<load_board> board)
    : runtime_(std::move(started)), board_(std::move(board)), process_(getpid()) {}

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

std::shared_ptr<pending_load> runtime_handle::begin(runtime& running, const lease_request& request,
                                                    const model_source& source, bool tells) {
  auto load = board_->add(source.files, tells);
  load->handle = running.begin(request, [load, board = board_, process = process_](expected<model_answer> answer) {
    board->answer(*load, answer.map([&](model_answer& there) {
      return loaded{guarded(std::move(there.lease), process), there.hit};
    }));
  });
  return load;
}

expected<std::shared_ptr<pending_load>> runtime_handle::begin(const load_order& order) {
  const auto running = get();
  if (!running)
    return unexpected(running.error());
  const auto request = request_of(order);
  if (!request)
    return unexpected(request.error());
  return begin(**running, *request, request->source, order.tells);
}

expected<std::shared_ptr<pending_load>> runtime_handle::begin_put(put_object wanted, uint64_t number) {
  // Made first, so that whatever goes wrong is the end of the object too.
  wanted.payload = std::shared_ptr<const uint64_t>(new uint64_t{number}, [board = board_](const uint64_t* gone) {
    board->put({event_kind::dropped, *gone});
    delete gone;
  });
  const auto running = get();
  if (!running)
    return unexpected(running.error());
  return begin(**running, wanted, {}, false);
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
  ending.reset();  // the last word of each load is said when its actors are gone
  board_->close();
}

}  // namespace longshore::python
