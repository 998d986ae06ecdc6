/// `longshore preload`: the models of preload_config.json into the cache, with every byte checked.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "app/cli/commands.hpp"
#include "app/cli/demo_models.hpp"
#include "app/cli/device_arguments.hpp"
#include "app/cli/exit_code.hpp"
#include "app/cli/preload_report.hpp"
#include "app/cli/runtime_session.hpp"
#include "app/cli/terminal.hpp"
#include "gpu/cast.hpp"
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
  device_arguments device;
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

void tell_about(const preload_config& config, const preload_arguments& arguments) {
  for (const auto& warning : config.warnings)
    print_warning(warning);
  if (config.auto_gpu_load && !arguments.device.wanted())
    print_note("settings.auto_gpu_load is on, but no --device was named: models stay in host memory");
  if (!config.verbose)
    return;
  for (const auto& entry : config.entries)
    print_note(entry.pointer + " \"" + entry.key + "\" (" + std::string{name(entry.kind)} + ")" +
               (entry.description.empty() ? "" : ": " + entry.description) + (entry.enabled ? "" : " [disabled]"));
}

/// Whether the configuration sends this entry to the device. A text encoder may be told to stay on the CPU.
bool is_for_device(const preload_config& config, const preload_entry& entry, const preload_arguments& arguments) {
  return config.auto_gpu_load && arguments.device.wanted() && entry.device != "cpu";
}

expected<model_source> find_entry(const preload_entry& entry, const std::vector<std::string>& roots,
                                  const source_options& how) {
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
  return find_source(paths, how);
}

preload_item item_of(const preload_entry& entry, const std::vector<std::string>& roots, const source_options& how) {
  preload_item item{.request = {.key = entry.key, .kind = entry.kind, .keep = true, .urgent = false}};
  if (auto source = find_entry(entry, roots, how))
    item.request.source = std::move(*source);
  else
    item.reason = source.error();
  return item;
}

expected<void> load_chosen(std::vector<preloaded_entry>& entries, const std::vector<size_t>& chosen,
                           const std::vector<preload_item>& items, runtime& loader) {
  auto outcomes = loader.preload(items);
  if (!outcomes)
    return tl::unexpected(outcomes.error());
  for (size_t i = 0; i < chosen.size(); ++i) {
    auto& entry = entries[chosen[i]];
    entry.outcome = std::move((*outcomes)[i]);
    entry.failure.reset();
    if (!entry.model())
      entry.failure = entry.outcome.answer.reason;
  }
  return {};
}

/// What does not fit on the device stays in host memory: there it is still a load saved.
expected<void> load_to_host_instead(std::vector<preloaded_entry>& entries, const preload_arguments& arguments,
                                    runtime& loader) {
  std::vector<size_t> chosen;
  std::vector<preload_item> items;
  for (size_t i = 0; i < entries.size(); ++i)
    if (entries[i].for_device && entries[i].failure && entries[i].failure->code == errc::out_of_budget) {
      print_warning("\"" + entries[i].entry.key + "\" stays in host memory: " + to_text(*entries[i].failure));
      chosen.push_back(i);
      items.push_back(item_of(entries[i].entry, arguments.models, {.hold = arguments.runtime.hold}));
    }
  return chosen.empty() ? expected<void>{} : load_chosen(entries, chosen, items, loader);
}

expected<std::vector<preloaded_entry>> load_entries(const preload_config& config, const preload_arguments& arguments,
                                                    runtime& loader) {
  std::vector<preloaded_entry> entries;
  std::vector<size_t> all;
  std::vector<preload_item> items;
  for (const auto& entry : config.entries) {
    if (!entry.enabled)
      continue;
    const bool for_device = is_for_device(config, entry, arguments);
    const source_options how{.hold = for_device ? hold_choice::device : arguments.runtime.hold,
                             .host_copy = for_device,
                             .cast_to = for_device ? wanted_type(entry) : ""};
    all.push_back(entries.size());
    entries.push_back({.entry = entry, .for_device = for_device, .outcome = {}, .digest_ok = {}, .failure = {}});
    items.push_back(item_of(entry, arguments.models, how));
  }
  auto loaded = load_chosen(entries, all, items, loader);
  if (loaded)
    loaded = load_to_host_instead(entries, arguments, loader);
  if (!loaded)
    return tl::unexpected(loaded.error());
  return entries;
}

error wrong_bytes(const std::string& path, const std::string& tensor) {
  return {.code = errc::mismatch, .what = "the bytes in memory are not those on disk", .path = path, .where = tensor};
}

/// Compares what is in memory with a second, plain reading of the file.
expected<void> check_held(const held_file& held, context& ctx) {
  const auto file = model_file::open(held.path());
  if (!file)
    return unexpected(file.error());
  const auto on_disk =
      digest_file(*file, held.header(), {.progress = [&](uint64_t) { return !ctx.interrupted->requested(); }});
  if (!on_disk)
    return unexpected(on_disk.error());
  for (size_t i = 0; i < on_disk->size(); ++i)
    if (xxh3_128_hex(held.bytes_of(held.tensors()[i])) != (*on_disk)[i])
      return unexpected(wrong_bytes(held.path(), held.tensors()[i].name));
  return {};
}

/// The tensor's bytes as the file has them, cast as the device has them.
expected<std::vector<std::byte>> expected_bytes(const model_file& file, const safetensors_header& header, size_t tensor,
                                                dtype to) {
  const auto& info = header.tensors[tensor];
  std::vector<std::byte> bytes(info.size_bytes());
  if (auto read = file.read_at(bytes, header.data_begin_bytes + info.begin_bytes); !read)
    return unexpected(read.error());
  if (info.type == to)
    return bytes;
  const auto elements = bytes.size() * 8 / bits(info.type);
  std::vector<std::byte> cast(elements * bits(to) / 8);
  cast_elements(bytes.data(), info.type, cast.data(), to, elements);
  return cast;
}

/// The same for what is on the device, which is read back.
expected<void> check_on_device(const device_file& held, context& ctx) {
  const auto file = model_file::open(held.path());
  if (!file)
    return unexpected(file.error());
  const auto header = read_header(*file);
  if (!header)
    return unexpected(header.error());
  for (size_t i = 0; i < held.tensors().size(); ++i) {
    if (ctx.interrupted->requested())
      return unexpected(error{.code = errc::cancelled, .what = "the check was stopped", .path = held.path()});
    const auto right = expected_bytes(*file, *header, i, held.tensors()[i].type);
    const auto found = read_back(held, i);
    if (!right || !found)
      return unexpected(right ? found.error() : right.error());
    if (*right != *found)
      return unexpected(wrong_bytes(held.path(), held.tensors()[i].name));
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
      if (auto same = check_held(*file, ctx); !same && !entry.failure)
        entry.failure = same.error();
    for (const auto& file : entry.model()->device_files)
      if (auto same = check_on_device(*file, ctx); !same && !entry.failure)
        entry.failure = same.error();
    entry.digest_ok = !entry.failure;
  }
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
  tell_about(*config, arguments);
  if (auto applied = arguments.device.apply_to(arguments.runtime.options); !applied)
    return give_up(applied.error());
  auto session = runtime_session::start(arguments.runtime, ctx);
  if (!session)
    return give_up(session.error());
  auto entries = load_entries(*config, arguments, (*session)->loader());
  auto code = static_cast<int>(exit_interrupted);
  if (entries && !ctx.interrupted->requested()) {
    if (!arguments.no_verify)
      check_entries(*entries, ctx);
    if (!ctx.interrupted->requested())
      code = report_preloaded(*entries, (*session)->loader(), arguments.runtime.json);
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
  arguments->device.add_to(*command);
  command->callback([arguments, &ctx] { ctx.run = [arguments, &ctx] { return run_preload(*arguments, ctx); }; });
}

}  // namespace longshore
