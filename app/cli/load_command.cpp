/// `longshore load`: loads models through the whole actor path and reports what it cost.

#include <algorithm>
#include <csignal>
#include <set>

#include <unistd.h>

#include "app/cli/commands.hpp"
#include "app/cli/device_arguments.hpp"
#include "app/cli/exit_code.hpp"
#include "app/cli/median.hpp"
#include "app/cli/runtime_session.hpp"
#include "app/cli/terminal.hpp"
#include "app/cli/usage.hpp"
#include "gpu/host_device.hpp"
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
  bool host_copy = false;
  std::string cast_to;
  runtime_arguments runtime;
  device_arguments device;
};

struct load_result {
  std::vector<double> seconds;  // of each repetition
  double cpu_seconds = 0;       // of all of them
  std::vector<std::shared_ptr<const model_lease>> leases;
  staging_status staging;
  pin_status budget;
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
    auto source = find_source(
        {file}, {.hold = arguments.runtime.hold, .host_copy = arguments.host_copy, .cast_to = arguments.cast_to});
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
        [[maybe_unused]] const std::byte read = *at;  // std::ignore would take it by reference, and read nothing
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
using digest_map = nlohmann::json;

void add_digest(digest_map& digests, const std::string& path, const std::string& tensor,
                std::span<const std::byte> of) {
  digests[digests.contains(tensor) ? path + ":" + tensor : tensor] = xxh3_128_hex(of);
}

/// Of the bytes where they ended: those on a device are read back from there.
expected<digest_map> digests_of(const load_result& result) {
  auto digests = digest_map::object();
  for (const auto& lease : result.leases) {
    for (const auto& file : lease->model().files)
      for (const auto& tensor : file->tensors())
        add_digest(digests, file->path(), tensor.name, file->bytes_of(tensor));
    for (const auto& file : lease->model().device_files)
      for (size_t i = 0; i < file->tensors().size(); ++i) {
        const auto bytes = read_back(*file, i);
        if (!bytes)
          return tl::unexpected(bytes.error());
        add_digest(digests, file->path(), file->tensors()[i].name, *bytes);
      }
  }
  return digests;
}

/// The sums over all files that were loaded.
struct load_totals {
  uint64_t bytes = 0, tensors = 0, direct = 0, buffered = 0, mapped = 0, uploaded = 0, from_host_copy = 0;
  uint64_t upload_ns = 0;  // of the file that took longest: files go to the device beside each other
  std::set<std::string> holds;

  void add(const std::vector<tensor_info>& of_file, const char* hold) {
    for (const auto& tensor : of_file)
      bytes += tensor.size_bytes();
    tensors += of_file.size();
    holds.insert(hold);
  }
};

load_totals totals_of(const load_result& result) {
  load_totals sum;
  for (const auto& lease : result.leases) {
    for (const auto& file : lease->model().files)
      sum.add(file->tensors(), file->is_mapped() ? "mapped" : "owned");
    for (const auto& file : lease->model().device_files)
      sum.add(file->tensors(), "device");
    for (const auto& report : lease->model().reports) {
      sum.direct += report.direct_bytes;
      sum.buffered += report.buffered_bytes;
      sum.mapped += report.mapped_bytes;
      sum.uploaded += report.uploaded_bytes;
      sum.from_host_copy += report.host_copy_bytes;
      sum.upload_ns = std::max(sum.upload_ns, report.upload_ns);
    }
  }
  return sum;
}

/// How well the link of a host device was used; of other devices nobody knows.
json link_report(const runtime_options& options) {
  const auto* host = dynamic_cast<const host_device*>(options.target.get());
  if (host == nullptr)
    return json::object();
  const auto counts = host->counts();
  json report{{"copies", counts.copies}};
  if (counts.link.whole.count() > 0)
    report["link_busy_share"] =
        static_cast<double>(counts.link.busy.count()) / static_cast<double>(counts.link.whole.count());
  return report;
}

expected<json> report_of(const load_arguments& arguments, const load_result& result, std::string_view engine) {
  const auto sum = totals_of(result);
  const auto seconds = median(result.seconds);
  json report{{"seconds", seconds},
              {"bytes", sum.bytes},
              {"tensors", sum.tensors},
              {"gb_per_s", static_cast<double>(sum.bytes) / 1e9 / seconds},
              {"engine", engine},
              {"hold", sum.holds.size() == 1 ? *sum.holds.begin() : "mixed"},
              {"direct_bytes", sum.direct},
              {"buffered_bytes", sum.buffered},
              {"mapped_bytes", sum.mapped},
              {"cpu_seconds", result.cpu_seconds / static_cast<double>(result.seconds.size())},
              {"peak_rss_bytes", peak_rss_bytes()},
              {"seconds_each", result.seconds}};
  if (arguments.device.wanted())
    report.update({{"device", arguments.runtime.options.target->name()},
                   {"uploaded_bytes", sum.uploaded},
                   {"upload_seconds", static_cast<double>(sum.upload_ns) / 1e9},
                   {"host_copy_bytes", sum.from_host_copy},
                   {"staging_peak_bytes", result.staging.peak_bytes},
                   {"pinned_peak_bytes", result.budget.peak.pinned_bytes},
                   {"evictions", result.budget.evictions},
                   {"refusals", result.budget.refusals}});
  report.update(link_report(arguments.runtime.options));
  if (arguments.digest) {
    auto digests = digests_of(result);
    if (!digests)
      return tl::unexpected(digests.error());
    report["digests"] = *digests;
  }
  return report;
}

void print_report(const load_arguments& arguments, const load_result& result, const json& report) {
  if (arguments.runtime.json)
    return print_json(report);
  table t{{"seconds", "bytes", "tensors", "GB/s", "hold", "engine", "direct", "buffered", "mapped", "CPU s",
           "peak memory"}};
  const auto bytes = [&](const char* field) { return human_bytes(report[field].get<uint64_t>()); };
  t.add({fixed(report["seconds"], 3), bytes("bytes"), std::to_string(report["tensors"].get<uint64_t>()),
         fixed(report["gb_per_s"], 2), report["hold"], report["engine"], bytes("direct_bytes"), bytes("buffered_bytes"),
         bytes("mapped_bytes"), fixed(report["cpu_seconds"], 3), bytes("peak_rss_bytes")});
  std::fputs(t.text().c_str(), stdout);
  if (arguments.device.wanted()) {
    table d{
        {"device", "upload s", "uploaded", "from host copy", "staging peak", "pinned peak", "evictions", "refusals"}};
    d.add({report["device"], fixed(report["upload_seconds"], 3), bytes("uploaded_bytes"), bytes("host_copy_bytes"),
           bytes("staging_peak_bytes"), bytes("pinned_peak_bytes"), std::to_string(result.budget.evictions),
           std::to_string(result.budget.refusals)});
    std::fputs(d.text().c_str(), stdout);
  }
  if (arguments.digest)
    for (const auto& [tensor, digest] : report["digests"].items())
      std::printf("%s  %s\n", digest.get<std::string>().c_str(), tensor.c_str());
}

expected<void> load_all(runtime& loader, const load_arguments& arguments, load_result& result) {
  const auto cpu_before = cpu_seconds();
  for (unsigned i = 0; i < arguments.repeat; ++i)
    if (auto loaded = load_once(loader, arguments, result); !loaded)
      return loaded;
  result.cpu_seconds = cpu_seconds() - cpu_before;
  auto staging = loader.staging();
  if (!staging)
    return tl::unexpected(staging.error());
  auto budget = loader.budget();
  if (!budget)
    return tl::unexpected(budget.error());
  result.staging = *staging;
  result.budget = std::move(*budget);
  const auto report = report_of(arguments, result, loader.engine_name());
  if (!report)
    return tl::unexpected(report.error());
  print_report(arguments, result, *report);
  return {};
}

int run_load(load_arguments arguments, context& ctx) {
  std::signal(SIGBUS, say_file_was_cut_short);
  if (auto applied = arguments.device.apply_to(arguments.runtime.options); !applied) {
    print_error(applied.error());
    return exit_code_of(applied.error().code);
  }
  if (arguments.device.wanted())
    arguments.runtime.hold = hold_choice::device;
  auto session = runtime_session::start(arguments.runtime, ctx);
  if (!session) {
    print_error(session.error());
    return exit_code_of(session.error().code);
  }
  load_result result;
  const auto loaded = load_all((*session)->loader(), arguments, result);
  result.leases.clear();
  const auto finished = (*session)->finish();
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
  arguments->device.add_to(*command);
  command
      ->add_option("--dtype", arguments->cast_to,
                   "cast float weights to this type while they load (default: as the file has them)")
      ->transform(CLI::IsMember({"F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}, CLI::ignore_case));
  command->add_flag("--host-copy", arguments->host_copy,
                    "go to the device by way of page-locked host memory, and keep that copy while memory allows");
  command->callback([arguments, &ctx] { ctx.run = [arguments, &ctx] { return run_load(*arguments, ctx); }; });
}

}  // namespace longshore
