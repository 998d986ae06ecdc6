#include "app/cli/bench_device.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include "app/cli/machine_limits.hpp"
#include "gpu/device_file.hpp"
#include "io/model_file.hpp"
#include "io/model_source.hpp"
#include "io/read_engine.hpp"
#include "io/trace_ring.hpp"

namespace longshore {
namespace {

double seconds_since(uint64_t begin_ns) { return static_cast<double>(trace_now_ns() - begin_ns) / 1e9; }

expected<model_answer> load_file(runtime& loader, const std::string& path, hold_choice hold, bool host_copy) {
  auto source = find_source({path}, {.hold = hold, .host_copy = host_copy});
  if (!source)
    return unexpected(source.error());
  const auto* suffix = hold == hold_choice::device ? " on the device" : " in host memory";
  return loader.load({.key = path + suffix, .kind = model_kind::data, .source = std::move(*source)});
}

}  // namespace

device_bench::device_bench(std::string path, uint64_t bytes, arena memory)
    : path_(std::move(path)), bytes_(bytes), memory_(std::move(memory)) {}

expected<device_bench> device_bench::make(const device_arguments& arguments, const std::string& path) {
  const auto file = model_file::open(path);
  if (!file)
    return unexpected(file.error());
  auto memory = arena_pool::make(~uint64_t{0}, 0)
                    ->acquire(std::max(
                        {arguments.staging_bytes, holder_options{}.pin_segment_bytes, holder_options{}.chunk_bytes}));
  if (!memory)
    return unexpected(memory.error());
  touch_pages(memory->data(), memory->size_bytes());
  device_bench made{path, file->size_bytes(), std::move(*memory)};
  if (auto applied = arguments.apply_to(made.options_); !applied)
    return unexpected(std::move(applied.error()));
  return made;
}

/// Of as much memory as staging takes, scaled to the file.
expected<double> device_bench::time_locking() {
  const auto segment_bytes = options_.holder.pin_segment_bytes;
  const auto begin_ns = trace_now_ns();
  uint64_t locked_bytes = 0;
  expected<void> done;
  while (done && locked_bytes + segment_bytes <= memory_.size_bytes()) {
    done = options_.target->register_host(memory_.data() + locked_bytes, segment_bytes);
    locked_bytes += done ? segment_bytes : 0;
  }
  const auto seconds = seconds_since(begin_ns) * static_cast<double>(bytes_) / static_cast<double>(locked_bytes);
  for (uint64_t at = 0; at < locked_bytes; at += segment_bytes)
    std::ignore = options_.target->unregister_host(memory_.data() + at);
  if (!done)
    return unexpected(done.error());
  return seconds;
}

/// Chunk after chunk from the same page-locked memory, as often as the file needs.
expected<double> device_bench::time_link() {
  auto& target = *options_.target;
  const auto chunk_bytes = options_.holder.chunk_bytes;
  const auto address = target.allocate(chunk_bytes);
  const auto stream = target.make_stream();
  auto done = target.register_host(memory_.data(), memory_.size_bytes());
  if (!address || !stream || !done)
    return unexpected(!address ? address.error() : !stream ? stream.error() : done.error());
  const auto begin_ns = trace_now_ns();
  for (uint64_t at = 0; done && at < bytes_; at += chunk_bytes)
    done = target.copy_to_device(*stream, memory_.data() + at % (memory_.size_bytes() / chunk_bytes * chunk_bytes),
                                 *address, std::min(chunk_bytes, bytes_ - at));
  if (done)
    done = wait_for(target, *stream);
  const auto seconds = seconds_since(begin_ns);
  target.destroy_stream(*stream);
  target.free(*address);
  std::ignore = target.unregister_host(memory_.data());
  if (!done)
    return unexpected(done.error());
  return seconds;
}

/// A load to the device, in a runtime of its own. `first`: how the file is in host memory by then; automatic: not.
expected<double> device_bench::time_load(hold_choice first, bool host_copy) {
  auto started = runtime::start(options_);
  if (!started)
    return unexpected(started.error());
  auto& loader = **started;
  expected<model_answer> before;
  if (first != hold_choice::automatic)
    before = load_file(loader, path_, first, false);
  if (!before)
    return unexpected(before.error());
  warm_free_memory(bytes_);
  const auto begin_ns = trace_now_ns();
  const auto answer = load_file(loader, path_, hold_choice::device, host_copy);
  const auto seconds = seconds_since(begin_ns);
  if (!answer)
    return unexpected(answer.error());
  return seconds;
}

expected<void> device_bench::measure(const record& add) {
  const auto note = [&add](const char* line, const expected<double>& seconds) -> expected<void> {
    if (!seconds)
      return unexpected(seconds.error());
    add(line, *seconds);
    return {};
  };
  const auto cold = [this](bool host_copy) -> expected<double> {
    if (auto evicted = evict_from_page_cache(path_); !evicted)
      return unexpected(evicted.error());
    return time_load(hold_choice::automatic, host_copy);
  };
  const std::pair<const char*, std::function<expected<double>()>> plan[] = {
      {link_limit, [this] { return time_link(); }},
      {locking, [this] { return time_locking(); }},
      {cold_load, [&] { return cold(false); }},
      {cold_with_copy, [&] { return cold(true); }},
      {hot_load,
       [this]() -> expected<double> {
         if (auto hot = bring_into_page_cache(path_); !hot)
           return unexpected(hot.error());
         return time_load(hold_choice::automatic, false);
       }},
      {pinned_copy, [this] { return time_load(hold_choice::pinned, false); }},
      {owned_copy, [this] { return time_load(hold_choice::owned, false); }},
  };
  for (const auto& [line, time] : plan)
    if (auto noted = note(line, time()); !noted)
      return noted;
  return {};
}

}  // namespace longshore
