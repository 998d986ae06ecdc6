/// `longshore preload`: the models of preload_config.json into the cache, with every byte checked.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "app/cli/commands.hpp"
#include "app/cli/demo_models.hpp"
#include "app/cli/exit_code.hpp"
#include "app/cli/runtime_session.hpp"
#include "app/cli/terminal.hpp"
#include "io/digest.hpp"
#include "io/digest_file.hpp"
#include "io/model_folders.hpp"
#include "io/model_source.hpp"
#include "io/open_model.hpp"
#include "io/preload_config.hpp"

namespace longshore {
namespace {

struct preload_arguments {
  std::string config;
  std::vector<std::string> models;
  bool no_verify = false;
  runtime_arguments runtime;
};

/// What became of one entry of the configuration.
struct preloaded_entry {
  preload_entry entry;
  preload_outcome outcome;
  std::optional<bool> digest_ok;  ///< nothing when it was not checked
  std::optional<error> failure;

  const leased_model* model() const { return outcome.answer.lease ? &outcome.answer.lease->model() : nullptr; }
};

int give_up(const error& reason) {
  print_error(reason);
  return exit_code_of(reason.code);
}

/// A file of the working folder, else that of the folder the program came from.
std::string default_path(const std::string& name) {
  const auto* home = std::getenv("LONGSHORE_HOME");
  if (home == nullptr || std::filesystem::exists(name))
    return name;
  return (std::filesystem::path(home) / name).string();
}

expected<preload_config> read_config(const std::string& path) {
  if (!std::filesystem::is_regular_file(path))
    return unexpected(
        error{.code = errc::not_found,
              .what = "there is no such configuration; name one, or run this where preload_config.json is",
              .path = path});
  std::ifstream in{path, std::ios::binary};
  std::stringstream text;
  text << in.rdbuf();
  if (!in)
    return unexpected(error{.code = errc::io_failed, .what = "cannot read the configuration", .path = path});
  return parse_preload_config(text.str(), path);
}

/// A first run has nothing to load: it gets something.
expected<void> write_demo_models(const std::string& folder, context& ctx) {
  print_note("there is no folder \"" + folder + "\"; writing small demo models of real layouts there (about 0.6 GB)");
  progress_lines lines;
  const auto made = demo_models(folder, [&](uint64_t done_bytes, uint64_t total_bytes) {
    lines.draw({bar(static_cast<double>(done_bytes) / static_cast<double>(total_bytes)) + " " +
                human_bytes(done_bytes) + " of " + human_bytes(total_bytes) + "  writing demo models"});
    return !ctx.interrupted->requested();
  });
  if (!made)
    return unexpected(made.error());
  return {};
}

void tell_about(const preload_config& config) {
  for (const auto& warning : config.warnings)
    print_warning(warning);
  if (config.auto_gpu_load)
    print_note("settings.auto_gpu_load is ignored: preload does not load to a device yet, models stay in host memory");
  if (!config.verbose)
    return;
  for (const auto& entry : config.entries)
    print_note(entry.pointer + " \"" + entry.key + "\" (" + std::string{name(entry.kind)} + ")" +
               (entry.description.empty() ? "" : ": " + entry.description) + (entry.enabled ? "" : " [disabled]"));
}

expected<model_source> find_entry(const preload_entry& entry, const std::vector<std::string>& roots, hold_choice hold) {
  std::vector<std::string> paths;
  for (const auto& file : entry.files) {
    auto path = find_model_file(roots, entry.kind, file);
    if (!path) {
      auto reason = path.error();
      reason.where = entry.pointer;
      return unexpected(std::move(reason));
    }
    paths.push_back(std::move(*path));
  }
  return find_source(paths, {.hold = hold});
}

preload_item item_of(const preload_entry& entry, const preload_arguments& arguments) {
  preload_item item{.request = {.key = entry.key, .kind = entry.kind, .keep = true, .urgent = false}};
  if (auto source = find_entry(entry, arguments.models, arguments.runtime.hold))
    item.request.source = std::move(*source);
  else
    item.reason = source.error();
  return item;
}

expected<std::vector<preloaded_entry>> load_entries(const preload_config& config, const preload_arguments& arguments,
                                                    runtime& loader) {
  std::vector<preloaded_entry> entries;
  std::vector<preload_item> items;
  for (const auto& entry : config.entries)
    if (entry.enabled) {
      entries.push_back({.entry = entry, .outcome = {}, .digest_ok = {}, .failure = {}});
      items.push_back(item_of(entry, arguments));
    }
  auto outcomes = loader.preload(std::move(items));
  if (!outcomes)
    return tl::unexpected(outcomes.error());
  for (size_t i = 0; i < entries.size(); ++i) {
    entries[i].outcome = std::move((*outcomes)[i]);
    if (!entries[i].model())
      entries[i].failure = entries[i].outcome.answer.reason;
  }
  return entries;
}

/// Compares what is in memory with a second, plain reading of the file.
expected<void> check_file(const held_file& held, context& ctx) {
  const auto file = model_file::open(held.path());
  if (!file)
    return unexpected(file.error());
  const auto on_disk =
      digest_file(*file, held.header(), {.progress = [&](uint64_t) { return !ctx.interrupted->requested(); }});
  if (!on_disk)
    return unexpected(on_disk.error());
  for (size_t i = 0; i < on_disk->size(); ++i) {
    const auto& tensor = held.tensors()[i];
    if (xxh3_128_hex(held.bytes_of(tensor)) != (*on_disk)[i])
      return unexpected(error{.code = errc::mismatch,
                              .what = "the bytes in memory are not those on disk",
                              .path = held.path(),
                              .where = tensor.name});
  }
  return {};
}

void check_entries(std::vector<preloaded_entry>& entries, context& ctx) {
  progress_lines lines;
  for (auto& entry : entries) {
    if (!entry.model())
      continue;
    lines.draw({"checking " + entry.entry.key});
    for (const auto& file : entry.model()->files)
      if (auto same = check_file(*file, ctx); !same && !entry.failure)
        entry.failure = same.error();
    entry.digest_ok = !entry.failure;
  }
}

struct entry_sums {
  uint64_t tensors = 0, bytes = 0, direct = 0, buffered = 0, mapped = 0;

  std::string path() const {
    std::string text;
    for (const auto& [bytes_so, word] : {std::pair{direct, "direct"}, {buffered, "buffered"}, {mapped, "mapped"}})
      if (bytes_so > 0)
        text += (text.empty() ? "" : "+") + std::string(word);
    return text.empty() ? "-" : text;
  }
};

entry_sums sums_of(const leased_model& model) {
  entry_sums sums;
  for (size_t i = 0; i < model.files.size(); ++i) {
    sums.tensors += model.files[i]->tensors().size();
    for (const auto& tensor : model.files[i]->tensors())
      sums.bytes += tensor.size_bytes();
    sums.direct += model.reports[i].direct_bytes;
    sums.buffered += model.reports[i].buffered_bytes;
    sums.mapped += model.reports[i].mapped_bytes;
  }
  return sums;
}

double seconds_of(const preloaded_entry& entry) { return static_cast<double>(entry.outcome.took_ns) / 1e9; }

json row_of(const preloaded_entry& entry) {
  json row{{"key", entry.entry.key},
           {"kind", name(entry.entry.kind)},
           {"pointer", entry.entry.pointer},
           {"files", entry.entry.files}};
  if (const auto* model = entry.model()) {
    const auto sums = sums_of(*model);
    row.update({{"tensors", sums.tensors},
                {"bytes", sums.bytes},
                {"seconds", seconds_of(entry)},
                {"gb_per_s", static_cast<double>(sums.bytes) / 1e9 / seconds_of(entry)},
                {"direct_bytes", sums.direct},
                {"buffered_bytes", sums.buffered},
                {"mapped_bytes", sums.mapped},
                {"generation", model->generation},
                {"digest_ok", entry.digest_ok ? json(*entry.digest_ok) : json(nullptr)}});
  }
  if (entry.failure)
    row["error"] = to_json(*entry.failure);
  return row;
}

void print_table(const std::vector<preloaded_entry>& entries) {
  table t{{"key", "kind", "tensors", "bytes", "seconds", "GB/s", "read", "digest"}};
  for (const auto& entry : entries) {
    if (const auto* model = entry.model()) {
      const auto sums = sums_of(*model);
      t.add({entry.entry.key, std::string{name(entry.entry.kind)}, std::to_string(sums.tensors),
             human_bytes(sums.bytes), fixed(seconds_of(entry), 3), human_rate(sums.bytes, seconds_of(entry)),
             sums.path(),
             !entry.digest_ok   ? "-"
             : *entry.digest_ok ? "ok"
                                : "WRONG"});
    } else {
      t.add({entry.entry.key, std::string{name(entry.entry.kind)}, "-", "-", "-", "-",
             std::string{name(entry.failure->code)}, "-"});
    }
  }
  std::fputs(t.text().c_str(), stdout);
}

int report(const preload_arguments& arguments, const std::vector<preloaded_entry>& entries, runtime& loader) {
  if (arguments.runtime.json) {
    json models = json::array();
    for (const auto& entry : entries)
      models.push_back(row_of(entry));
    print_json({{"models", std::move(models)},
                {"engine", loader.engine_name()},
                {"host_limit_bytes", loader.host_limit_bytes()}});
  } else {
    print_table(entries);
  }
  int code = exit_ok;
  for (const auto& entry : entries)
    if (entry.failure) {
      print_error(*entry.failure);
      code = code == exit_ok ? exit_code_of(entry.failure->code) : code;
    }
  return code;
}

/// Fills in what the command line left out: the configuration, the model folders, and models where there are none.
expected<void> settle_paths(preload_arguments& arguments, context& ctx) {
  const auto is_first_run = arguments.config.empty() && arguments.models.empty();
  if (arguments.config.empty())
    arguments.config = default_path("preload_config.json");
  if (arguments.models.empty())
    arguments.models.push_back(default_path("models"));
  if (std::filesystem::is_directory(arguments.models.front()))
    return {};
  if (is_first_run)
    return write_demo_models(arguments.models.front(), ctx);
  return unexpected(error{.code = errc::not_found,
                          .what = "there is no such models folder; name one with --models",
                          .path = arguments.models.front()});
}

int run_preload(preload_arguments arguments, context& ctx) {
  const auto wants_config = arguments.config.empty() ? default_path("preload_config.json") : arguments.config;
  const auto config = read_config(wants_config);  // first: a wrong configuration writes no demo models
  if (!config)
    return give_up(config.error());
  if (auto settled = settle_paths(arguments, ctx); !settled)
    return give_up(settled.error());
  tell_about(*config);
  auto session = runtime_session::start(arguments.runtime, ctx);
  if (!session)
    return give_up(session.error());
  auto entries = load_entries(*config, arguments, (*session)->loader());
  auto code = static_cast<int>(exit_interrupted);
  if (entries && !ctx.interrupted->requested()) {
    if (!arguments.no_verify)
      check_entries(*entries, ctx);
    if (!ctx.interrupted->requested())
      code = report(arguments, *entries, (*session)->loader());
    entries->clear();
  }
  const auto finished = (*session)->finish();
  if (ctx.interrupted->requested())
    return exit_interrupted;
  if (!entries)
    return give_up(entries.error());
  return finished ? code : give_up(finished.error());
}

}  // namespace

void add_preload_command(CLI::App& app, context& ctx) {
  auto arguments = std::make_shared<preload_arguments>();
  auto* command =
      app.add_subcommand("preload", "Load the models of a configuration into the cache, and check every byte");
  command->add_option("CONFIG", arguments->config, "the configuration (default: preload_config.json)");
  command
      ->add_option(
          "--models", arguments->models,
          "a folder with checkpoints/, text_encoders/ or clip/, diffusion_models/ or unet/, vae/; may be given "
          "several times (default: models)")
      ->allow_extra_args(false)  // what follows is CONFIG
      ->take_all();
  command->add_flag("--no-verify", arguments->no_verify, "do not compare what was loaded with a second reading");
  arguments->runtime.add_to(*command, hold_choice::owned);
  command->callback([arguments, &ctx] { ctx.run = [arguments, &ctx] { return run_preload(*arguments, ctx); }; });
}

}  // namespace longshore
