/// `longshore verify`: reads whole files, checks their form, and writes or compares the digests of their tensors.

#include <optional>

#include "app/cli/commands.hpp"
#include "app/cli/digest_list.hpp"
#include "app/cli/exit_code.hpp"
#include "app/cli/terminal.hpp"
#include "io/digest_file.hpp"
#include "io/model_source.hpp"
#include "io/open_model.hpp"
#include "io/trace_ring.hpp"

namespace longshore {
namespace {

struct verify_arguments {
  std::vector<std::string> files;
  std::string write;
  std::string against;
  bool json = false;
};

struct verified_file {
  std::string path;
  uint64_t bytes = 0;
  double seconds = 0;
  file_digests digests;
  std::optional<error> failure;
};

/// The files behind the arguments: an index stands for its shards.
expected<std::vector<file_source>> files_of(const std::vector<std::string>& paths) {
  std::vector<file_source> files;
  for (const auto& path : paths) {
    auto source = find_source({path}, {.hold = hold_choice::owned});
    if (!source)
      return tl::unexpected(source.error());
    files.insert(files.end(), source->files.begin(), source->files.end());
  }
  return files;
}

verified_file digest_one(const file_source& source, context& ctx, progress_lines& lines) {
  verified_file result{.path = source.path,
                       .digests = {.file = source.path.substr(source.path.rfind('/') + 1), .tensors = {}},
                       .failure = {}};
  const auto begin_ns = trace_now_ns();
  const auto opened = open_model(source);
  if (!opened) {
    result.failure = opened.error();
    return result;
  }
  result.bytes = opened->file.size_bytes();
  const auto progress = [&](uint64_t done_bytes) {
    const auto seconds = static_cast<double>(trace_now_ns() - begin_ns) / 1e9;
    lines.draw({bar(static_cast<double>(done_bytes) / static_cast<double>(result.bytes)) + " " +
                human_bytes(done_bytes) + " of " + human_bytes(result.bytes) + "  " + human_rate(done_bytes, seconds) +
                " GB/s  " + result.digests.file});
    return !ctx.interrupted->requested();
  };
  auto digests = digest_file(opened->file, *opened->header, {.progress = progress});
  lines.clear();
  result.seconds = static_cast<double>(trace_now_ns() - begin_ns) / 1e9;
  if (!digests) {
    result.failure = digests.error();
    return result;
  }
  for (size_t i = 0; i < digests->size(); ++i)
    result.digests.tensors.push_back({opened->header->tensors[i].name, std::move((*digests)[i])});
  return result;
}

json report_of(const std::vector<verified_file>& files) {
  json report{{"ok", true}, {"files", json::array()}};
  for (const auto& file : files) {
    json row{{"path", file.path},
             {"bytes", file.bytes},
             {"tensors", file.digests.tensors.size()},
             {"seconds", file.seconds},
             {"ok", !file.failure}};
    if (file.failure) {
      report["ok"] = false;
      row["error"] = to_json(*file.failure);
    }
    report["files"].push_back(std::move(row));
  }
  return report;
}

void print_table(const std::vector<verified_file>& files, bool compared) {
  table t{{"file", "tensors", "bytes", "seconds", "GB/s", compared ? "digests" : "readable"}};
  for (const auto& file : files)
    t.add({file.path, std::to_string(file.digests.tensors.size()), human_bytes(file.bytes), fixed(file.seconds, 2),
           human_rate(file.bytes, file.seconds), file.failure ? std::string{name(file.failure->code)} : "ok"});
  std::fputs(t.text().c_str(), stdout);
}

/// The digests of a run in which anything failed are not written: a list is complete or is not there.
expected<void> write_list(const verify_arguments& arguments, const std::vector<verified_file>& files) {
  if (arguments.write.empty())
    return {};
  std::vector<file_digests> digests;
  for (const auto& file : files)
    digests.push_back(file.digests);
  return digest_list::write(arguments.write, digests);
}

int give_up(const error& reason) {
  print_error(reason);
  return exit_code_of(reason.code);
}

int run_verify(const verify_arguments& arguments, context& ctx) {
  std::optional<digest_list> wanted;
  if (!arguments.against.empty()) {
    auto list = digest_list::read(arguments.against);
    if (!list)
      return give_up(list.error());
    wanted = std::move(*list);
  }
  const auto sources = files_of(arguments.files);
  if (!sources)
    return give_up(sources.error());
  std::vector<verified_file> files;
  progress_lines lines;
  for (const auto& source : *sources) {
    files.push_back(digest_one(source, ctx, lines));
    if (ctx.interrupted->requested())
      return exit_interrupted;
    auto& file = files.back();
    if (wanted && !file.failure)
      if (auto same = wanted->check(file.path, file.digests); !same)
        file.failure = same.error();
  }
  if (arguments.json)
    print_json(report_of(files));
  else
    print_table(files, wanted.has_value());
  for (const auto& file : files)
    if (file.failure)
      return give_up(*file.failure);
  if (auto written = write_list(arguments, files); !written)
    return give_up(written.error());
  return exit_ok;
}

}  // namespace

void add_verify_command(CLI::App& app, context& ctx) {
  auto arguments = std::make_shared<verify_arguments>();
  auto* command = app.add_subcommand("verify", "Read whole files, check their form and the digests of their tensors");
  command->add_option("FILE", arguments->files, ".safetensors files or shard indexes")->required();
  command->add_option("--write", arguments->write, "write the digests to this JSON file");
  command->add_option("--against", arguments->against, "compare with the digests in this JSON file");
  command->add_flag("--json", arguments->json, "one JSON object on stdout");
  command->callback([arguments, &ctx] { ctx.run = [arguments, &ctx] { return run_verify(*arguments, ctx); }; });
}

}  // namespace longshore
