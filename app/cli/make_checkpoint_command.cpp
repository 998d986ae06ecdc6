/// `longshore make-checkpoint`: writes a file with a real model's layout and made-up weights, to try things with.

#include <map>

#include "app/cli/commands.hpp"
#include "app/cli/exit_code.hpp"
#include "app/cli/make_checkpoint.hpp"
#include "app/cli/terminal.hpp"

namespace longshore {
namespace {

struct make_arguments {
  std::string layout;
  std::string out;
  std::string type;
  bool json = false;
  checkpoint_options options;
};

/// A file, or the name of a layout that comes with the program, or "tiny:20000" for that many tensors of 4 KiB.
expected<layout> find_layout(const std::string& text) {
  constexpr uint64_t tiny_bytes = 4096;
  if (text.starts_with("tiny:"))
    return uniform_layout(std::strtoull(text.c_str() + 5, nullptr, 10), tiny_bytes);
  return text.ends_with(".json") ? read_layout(text) : named_layout(text);
}

int run_make(const make_arguments& arguments, context& ctx) {
  auto options = arguments.options;
  if (!arguments.type.empty())
    options.float_type = dtype_from_name(arguments.type);
  progress_lines lines;
  options.progress = [&](uint64_t done_bytes, uint64_t total_bytes) {
    lines.draw({bar(static_cast<double>(done_bytes) / static_cast<double>(total_bytes)) + " " +
                human_bytes(done_bytes) + " of " + human_bytes(total_bytes)});
    return !ctx.interrupted->requested();
  };
  const auto model = find_layout(arguments.layout);
  const auto made = model ? make_checkpoint(*model, arguments.out, options) : tl::unexpected(model.error());
  lines.clear();
  if (!made) {
    print_error(made.error());
    return exit_code_of(made.error().code);
  }
  if (arguments.json)
    print_json({{"paths", made->paths}, {"tensors", made->tensors}, {"bytes", made->tensor_bytes}});
  else
    for (const auto& path : made->paths)
      std::printf("%s\n", path.c_str());
  return exit_ok;
}

std::string known_type(const std::string& text) {
  return dtype_from_name(text) ? "" : "no such dtype; F32, F16, BF16, F8_E4M3 and F8_E5M2 are some";
}

}  // namespace

void add_make_checkpoint_command(CLI::App& app, context& ctx) {
  auto arguments = std::make_shared<make_arguments>();
  auto* command = app.add_subcommand("make-checkpoint", "Write a file with a real model's layout and made-up weights");
  command
      ->add_option("LAYOUT", arguments->layout,
                   "a layout's .json, or sd15, sdxl, sd15-tiny, clip_l, flux1-small, or tiny:N for N tensors of 4 KiB")
      ->required();
  command->add_option("OUT", arguments->out, "the .safetensors file to write")->required();
  command->add_option("--dtype", arguments->type, "the type of every floating tensor")->check(known_type);
  command->add_option("--seed", arguments->options.seed, "other seeds give other weights");
  command->add_option("--shards", arguments->options.shards, "split into so many files with an index")
      ->check(CLI::Range(size_t{1}, checkpoint_options{}.max_shards));
  command->add_flag("--json", arguments->json, "one JSON object on stdout");
  command->callback([arguments, &ctx] { ctx.run = [arguments, &ctx] { return run_make(*arguments, ctx); }; });
}

}  // namespace longshore
