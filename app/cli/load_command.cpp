/// `longshore load`: loads models through the whole actor path and reports what it cost.

#include <algorithm>
#include <csignal>
#include <set>

#include <unistd.h>

#include "app/cli/commands.hpp"
#include "app/cli/exit_code.hpp"
#include "app/cli/runtime_session.hpp"
#include "app/cli/terminal.hpp"
#include "app/cli/usage.hpp"
#include "io/digest.hpp"
#include "io/model_source.hpp"
#include "io/trace_ring.hpp"

namespace longshore {
namespace {

struct load_arguments {
  std::vector<std::string> files;
  unsigned repeat = 1;
  bool digest = false;
  bool touch = false;
  runtime_arguments runtime;
};

struct load_result {
  std::vector<double> seconds;  // of each repetition
  double cpu_seconds = 0;       // of all of them
  std::vector<std::shared_ptr<const model_lease>> leases;
};

/// A mapped file that is cut short while its bytes are used: the one fault that comes as a signal.
void say_file_was_cut_short(int) {
  constexpr std::string_view text = "longshore: error: a mapped file was cut short while it was used; load it again\n";
  [[maybe_unused]] const auto n = ::write(STDERR_FILENO, text.data(), text.size());
  _exit(exit_io_failed);
}

std::vector<preload_item> items_of(const load_arguments& arguments) {
  std::vector<preload_item> items;
  std::set<std::string> seen;
  for (const auto& file : arguments.files) {
    if (!seen.insert(file).second)
      continue;
    auto source = find_source({file}, {.hold = arguments.runtime.hold});
    preload_item item{.request = {.key = file, .kind = model_kind::data}};
    if (source)
      item.request.source = std::move(*source);
    else
      item.reason = source.error();
    items.push_back(std::move(item));
  }
  return items;
}

/// Reads one byte of each page of every tensor, as a consumer's first use would.
void touch_tensors(const leased_model& model) {
  constexpr size_t page_bytes = 4096;
  for (const auto& file : model.files)
    for (const auto& tensor : file->tensors()) {
      const auto bytes = file->bytes_of(tensor);
      const auto* end = bytes.data() + bytes.size();
      for (const volatile std::byte* at = bytes.data(); at < end;) {
        std::ignore = *at;
        at += page_bytes - reinterpret_cast<uintptr_t>(at) % page_bytes;  // tensors begin anywhere in a page
      }
    }
}

expected<void> load_once(runtime& loader, const load_arguments& arguments, load_result& result) {
  result.leases.clear();
  if (!result.seconds.empty())
    if (auto cleared = loader.clear(); !cleared)
      return cleared;
  const auto begin_ns = trace_now_ns();
  auto outcomes = loader.preload(items_of(arguments));
  if (!outcomes)
    return tl::unexpected(outcomes.error());
  for (const auto& outcome : *outcomes) {
    if (!outcome.answer.lease)
      return tl::unexpected(outcome.answer.reason);
    if (arguments.touch)
      touch_tensors(outcome.answer.lease->model());
  }
  result.seconds.push_back(static_cast<double>(trace_now_ns() - begin_ns) / 1e9);
  for (const auto& outcome : *outcomes)
    result.leases.push_back(outcome.answer.lease);
  return {};
}

/// Not the ordered JSON of the rest: that looks names up one by one.
nlohmann::json digests_of(const load_result& result) {
  auto digests = nlohmann::json::object();
  for (const auto& lease : result.leases)
    for (const auto& file : lease->model().files)
      for (const auto& tensor : file->tensors()) {
        auto key = digests.contains(tensor.name) ? file->path() + ":" + tensor.name : tensor.name;
        digests[std::move(key)] = xxh3_128_hex(file->bytes_of(tensor));
      }
  return digests;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

json report_of(const load_arguments& arguments, const load_result& result, std::string_view engine) {
  uint64_t bytes = 0, tensors = 0, direct = 0, buffered = 0, mapped = 0;
  std::set<std::string> holds;
  for (const auto& lease : result.leases)
    for (size_t i = 0; i < lease->model().files.size(); ++i) {
      const auto& file = *lease->model().files[i];
      const auto& report = lease->model().reports[i];
      for (const auto& tensor : file.tensors())
        bytes += tensor.size_bytes();
      tensors += file.tensors().size();
      direct += report.direct_bytes;
      buffered += report.buffered_bytes;
      mapped += report.mapped_bytes;
      holds.insert(file.is_mapped() ? "mapped" : "owned");
    }
  const auto seconds = median(result.seconds);
  json report{{"seconds", seconds},
              {"bytes", bytes},
              {"tensors", tensors},
              {"gb_per_s", static_cast<double>(bytes) / 1e9 / seconds},
              {"engine", engine},
              {"hold", holds.size() == 1 ? *holds.begin() : "mixed"},
              {"direct_bytes", direct},
              {"buffered_bytes", buffered},
              {"mapped_bytes", mapped},
              {"cpu_seconds", result.cpu_seconds / static_cast<double>(result.seconds.size())},
              {"peak_rss_bytes", peak_rss_bytes()},
              {"seconds_each", result.seconds}};
  if (arguments.digest)
    report["digests"] = digests_of(result);
  return report;
}

void print_report(const load_arguments& arguments, const json& report) {
  if (arguments.runtime.json)
    return print_json(report);
  table t{{"seconds", "bytes", "tensors", "GB/s", "hold", "engine", "direct", "buffered", "mapped", "CPU s",
           "peak memory"}};
  const auto bytes = [&](const char* field) { return human_bytes(report[field].get<uint64_t>()); };
  t.add({fixed(report["seconds"], 3), bytes("bytes"), std::to_string(report["tensors"].get<uint64_t>()),
         fixed(report["gb_per_s"], 2), report["hold"], report["engine"], bytes("direct_bytes"), bytes("buffered_bytes"),
         bytes("mapped_bytes"), fixed(report["cpu_seconds"], 3), bytes("peak_rss_bytes")});
  std::fputs(t.text().c_str(), stdout);
  if (arguments.digest)
    for (const auto& [tensor, digest] : report["digests"].items())
      std::printf("%s  %s\n", digest.get<std::string>().c_str(), tensor.c_str());
}

int run_load(const load_arguments& arguments, context& ctx) {
  std::signal(SIGBUS, say_file_was_cut_short);
  auto session = runtime_session::start(arguments.runtime, ctx);
  if (!session) {
    print_error(session.error());
    return exit_code_of(session.error().code);
  }
  load_result result;
  const auto cpu_before = cpu_seconds();
  expected<void> loaded;
  for (unsigned i = 0; i < arguments.repeat && loaded; ++i)
    loaded = load_once((*session)->loader(), arguments, result);
  result.cpu_seconds = cpu_seconds() - cpu_before;
  if (loaded)
    print_report(arguments, report_of(arguments, result, (*session)->loader().engine_name()));
  result.leases.clear();
  auto finished = (*session)->finish();
  if (ctx.interrupted->requested())
    return exit_interrupted;
  for (const auto* outcome : {&loaded, &finished})
    if (!*outcome) {
      print_error(outcome->error());
      return exit_code_of(outcome->error().code);
    }
  return exit_ok;
}

}  // namespace

void add_load_command(CLI::App& app, context& ctx) {
  auto arguments = std::make_shared<load_arguments>();
  auto* command = app.add_subcommand("load", "Load files into memory and report how fast that went");
  command->add_option("FILE", arguments->files, ".safetensors files or .safetensors.index.json, each a model")
      ->required();
  command->add_option("--repeat", arguments->repeat, "load so many times; seconds are the median")
      ->check(CLI::Range(1U, 100000U));
  command->add_flag("--digest", arguments->digest, "XXH3-128 of every tensor as it is in memory");
  command->add_flag("--touch", arguments->touch, "read one byte of each page of every tensor, and count that time too");
  arguments->runtime.add_to(*command, hold_choice::automatic);
  command->callback([arguments, &ctx] { ctx.run = [arguments, &ctx] { return run_load(*arguments, ctx); }; });
}

}  // namespace longshore
