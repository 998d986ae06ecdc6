#include "app/cli/runtime_session.hpp"

#include "app/cli/one_of.hpp"
#include "io/trace_ring.hpp"

namespace longshore {
namespace {

std::string progress_line(const load_progress& p, double seconds) {
  const auto share = p.bytes_total == 0 ? 1.0 : static_cast<double>(p.bytes_done) / static_cast<double>(p.bytes_total);
  const auto file_name = p.path.substr(p.path.rfind('/') + 1);
  return bar(share) + " " + human_bytes(p.bytes_done) + " of " + human_bytes(p.bytes_total) + "  " +
         human_rate(p.bytes_done, seconds) + " GB/s  " + file_name + "  waits for " + name(p.stage);
}

}  // namespace

void runtime_arguments::add_to(CLI::App& command, hold_choice default_hold) {
  hold = default_hold;
  const std::map<std::string, hold_choice> holds{{"auto", hold_choice::automatic},
                                                 {"owned", hold_choice::owned},
                                                 {"pinned", hold_choice::pinned},
                                                 {"mapped", hold_choice::mapped}};
  const std::map<std::string, engine_kind> engines{
      {"auto", engine_kind::automatic}, {"io_uring", engine_kind::io_uring}, {"threads", engine_kind::threads}};
  const std::map<std::string, page_cache_mode> modes{{"auto", page_cache_mode::automatic},
                                                     {"direct", page_cache_mode::direct},
                                                     {"buffered", page_cache_mode::buffered}};
  command
      .add_option(
          "--hold", hold,
          "owned: bytes of our own; pinned: the same, page-locked for the device as far as --pin-budget goes; mapped: "
          "the page cache itself; auto: mapped when the file is cached")
      ->transform(one_of(holds));
  command.add_option("--engine", options.engine.kind, "how to read; auto takes io_uring where the system allows it")
      ->transform(one_of(engines));
  command
      .add_option("--page-cache", options.holder.page_cache,
                  "auto reads what is cached through the page cache and the rest directly")
      ->transform(one_of(modes));
  command.add_flag("--leave-in-cache", options.holder.leave_in_cache,
                   "leave what was read in the page cache for other programs (costs time and CPU)");
  command
      .add_option(
          "--host-limit", options.host_limit_bytes,
          "most memory to hold weights in, such as 8GiB (default: most of what this machine or container allows)")
      ->transform(CLI::AsSizeValue(false));
  command.add_option("--trace", options.trace_path,
                     "write every message, read and wait to this file, for ui.perfetto.dev");
  command.add_flag("--json", json, "one JSON object on stdout");
}

expected<std::unique_ptr<runtime_session>> runtime_session::start(const runtime_arguments& arguments, context& ctx) {
  std::unique_ptr<runtime_session> session{new runtime_session(*ctx.interrupted)};
  auto options = arguments.options;
  if (session->lines_.enabled())
    options.on_progress = [s = session.get()](const load_progress& progress) { s->show(progress); };
  auto started = runtime::start(std::move(options));
  if (!started)
    return tl::unexpected(started.error());
  session->runtime_ = std::move(*started);
  if (arguments.options.engine.kind == engine_kind::automatic &&
      session->runtime_->engine_name() == name(engine_kind::threads))
    print_note("this system refuses io_uring; reading with threads instead");
  ctx.interrupted->on_request([r = session->runtime_.get()] { r->cancel_all(); });
  return session;
}

runtime_session::~runtime_session() { interrupted_.on_request(nullptr); }

void runtime_session::show(const load_progress& progress) {
  const std::lock_guard guard{mutex_};
  const auto now_ns = trace_now_ns();
  began_ns_.try_emplace(progress.file, now_ns);
  if (progress.stage == load_stage::ready || progress.stage == load_stage::failed)
    loads_.erase(progress.file);
  else
    loads_.insert_or_assign(progress.file, progress);
  std::vector<std::string> lines;
  for (const auto& [file, load] : loads_)
    lines.push_back(progress_line(load, static_cast<double>(now_ns - began_ns_[file]) / 1e9));
  if (!lines.empty())
    lines_.draw(lines);
}

expected<void> runtime_session::finish() {
  interrupted_.on_request(nullptr);
  auto stopped = runtime_->stop();
  const std::lock_guard guard{mutex_};
  lines_.clear();
  loads_.clear();
  return stopped;
}

}  // namespace longshore
