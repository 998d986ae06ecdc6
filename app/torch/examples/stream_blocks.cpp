// Denoises with a transformer of FLUX.1's layout that does not fit the device: its blocks stream through.
#include <algorithm>
#include <chrono>
#include <cstdio>

#include <ATen/ATen.h>
#include <CLI/CLI.hpp>

#include "app/torch/examples/flux_layers.hpp"
#include "gpu/find_device.hpp"
#include "io/open_model.hpp"

namespace {

using namespace longshore;

struct example_options {
  std::string path;
  std::string device = "host";
  std::optional<double> device_megabytes;
  std::string type = "F32";
  std::string trace_path;
  unsigned steps = 4;
  double link_gb_per_s = 0;
  int64_t image_side = 12;
  int64_t text_tokens = 64;
  bool host_copy = false;
  bool verify = false;
};

constexpr double host_device_megabytes = 160;

void add_options(CLI::App& app, example_options& options) {
  app.add_option("CHECKPOINT", options.path,
                 "of FLUX.1's layout; `longshore make-checkpoint flux1-small FILE` makes one")
      ->required();
  app.add_option("--steps", options.steps, "from noise to image")->capture_default_str();
  app.add_option("--device", options.device, "host, cuda or cuda:N")->capture_default_str();
  app.add_option("--device-memory", options.device_megabytes,
                 "MB for weights; else 160 on the host device, and what is free on a GPU")
      ->check(CLI::PositiveNumber);
  app.add_option("--link", options.link_gb_per_s, "GB/s to the host device; 0: as fast as memory")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--dtype", options.type, "what the weights become on the device, and what computes")
      ->check(CLI::IsMember({"F32", "BF16", "F16"}))
      ->capture_default_str();
  app.add_option("--image-side", options.image_side, "tokens in a row and in a column of the image")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--text-tokens", options.text_tokens, "of the made-up prompt")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_flag("--host-copy", options.host_copy, "stream from a copy in host memory, rather than from the disk");
  app.add_flag("--verify", options.verify,
               "compute all again with all weights in host memory, and compare bit for bit");
  app.add_option("--trace", options.trace_path, "a file for ui.perfetto.dev: each layer's use, and what it waited for");
}

/// A runtime, and what streams in it, which ends before it does.
struct example {
  std::unique_ptr<runtime> loader;
  std::shared_ptr<const model_lease> copy;  // in host memory, where it is wanted
  flux_sizes sizes;
  std::shared_ptr<flux_inputs> inputs;
  std::vector<sequence_layer> layers;
  std::unique_ptr<streamed_sequence> model;
};

expected<void> start_runtime(example& made, const example_options& options) {
  runtime_options wanted{.trace_path = options.trace_path};
  const auto megabytes = options.device_megabytes.value_or(host_device_megabytes);
  auto device = find_device(options.device, {.capacity_bytes = static_cast<uint64_t>(megabytes * 1e6),
                                             .link_bytes_per_s = static_cast<uint64_t>(options.link_gb_per_s * 1e9)});
  if (!device)
    return tl::unexpected(device.error());
  wanted.target = std::move(*device);
  wanted.device_is_shared = options.device != "host";
  return runtime::start(std::move(wanted)).map([&](auto started) { made.loader = std::move(started); });
}

expected<void> load_copy(example& made, const std::string& path) {
  const auto source = find_source({path}, {.hold = hold_choice::owned});
  if (!source)
    return tl::unexpected(source.error());
  auto answer = made.loader->load({.key = path, .kind = model_kind::diffusion_model, .source = *source});
  if (!answer)
    return tl::unexpected(answer.error());
  made.copy = answer->lease;
  return {};
}

expected<void> make_model(example& made, const example_options& options) {
  const auto source = find_source({options.path});
  if (!source)
    return tl::unexpected(source.error());
  const auto opened = open_model(source->files.front());
  if (!opened)
    return tl::unexpected(opened.error());
  const auto sizes = flux_sizes_of(*opened->header);
  if (!sizes)
    return tl::unexpected(sizes.error());
  made.sizes = *sizes;
  made.inputs = make_flux_inputs(*sizes, options.image_side, options.text_tokens);
  made.layers = flux_layers(*opened->header, *sizes, made.inputs);
  sequence_request wanted{.sources = {{.files = *source, .copy = made.copy, .cast_to = options.type}},
                          .layers = made.layers};
  if (options.device != "host" && options.device_megabytes)
    wanted.device_budget_bytes = static_cast<uint64_t>(*options.device_megabytes * 1e6);
  return streamed_sequence::make(*made.loader, std::move(wanted)).map([&](auto model) {
    made.model = std::move(model);
  });
}

double mega(uint64_t bytes) { return static_cast<double>(bytes) / 1e6; }

/// One line a step: how long it took, what came, what it waited for.
void print_step(unsigned step, const example_options& options, double seconds, const stream_status& before,
                const stream_status& now) {
  std::printf("step %u of %u: %.3f s, %.1f MB moved, %.1f of %.1f MB on the device, waited for:", step, options.steps,
              seconds, mega(now.counts.moved_bytes - before.counts.moved_bytes), mega(now.device_bytes),
              mega(now.budget_bytes));
  bool waited = false;
  for (size_t cause = 1; cause < layer_wait_count; ++cause)
    if (const auto waited_ns = now.waited_ns[cause] - before.waited_ns[cause]; waited_ns > 0) {
      std::printf("%s %s %.3f s", waited ? "," : "", name(static_cast<layer_wait>(cause)),
                  static_cast<double>(waited_ns) / 1e9);
      waited = true;
    }
  std::printf(waited ? "\n" : " nothing\n");
  std::fflush(stdout);
}

/// From noise on, each step a part of the way that the model says. `compute`: the model, on image tokens.
template <class Compute>
expected<at::Tensor> denoise(const example& made, const example_options& options, const Compute& compute) {
  auto image = flux_noise(made.sizes, options.image_side);
  for (unsigned step = 0; step < options.steps; ++step) {
    set_flux_time(*made.inputs, 1 - static_cast<double>(step) / options.steps);
    const auto way = compute(step, image);
    if (!way)
      return way;
    image = image - *way / static_cast<double>(options.steps);
  }
  return image;
}

expected<at::Tensor> denoise_streamed(const example& made, const example_options& options) {
  auto before = made.model->status();
  if (!before)
    return tl::unexpected(before.error());
  std::printf("%s: %.1f MB as %s, in %llu layers, on a device with room for %.1f MB\n", options.path.c_str(),
              mega(before->model_bytes), options.type.c_str(), static_cast<unsigned long long>(before->layers),
              mega(before->budget_bytes));
  return denoise(made, options, [&](unsigned step, const at::Tensor& image) -> expected<at::Tensor> {
    const auto began = std::chrono::steady_clock::now();
    auto way = made.model->forward(image);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    const auto now = made.model->status();
    if (!way || !now)
      return way ? tl::unexpected(now.error()) : way;
    print_step(step + 1, options, took.count(), *before, *now);
    before = now;
    return way;
  });
}

/// Whether the same functions give the same numbers with all weights in host memory.
expected<bool> is_right(example& made, const example_options& options, const at::Tensor& image) {
  if (!made.copy)
    if (auto loaded = load_copy(made, options.path); !loaded)
      return tl::unexpected(loaded.error());
  auto weights = tensors_of(made.copy);
  if (!weights)
    return tl::unexpected(weights.error());
  const auto type = options.type == "F32" ? at::kFloat : options.type == "F16" ? at::kHalf : at::kBFloat16;
  for (auto& [name, weight] : *weights)
    weight = weight.to(type, false, true);
  return denoise(made, options,
                 [&](unsigned, at::Tensor tokens) -> expected<at::Tensor> {
                   for (const auto& layer : made.layers)
                     tokens = layer.run(tokens, *weights);
                   return tokens;
                 })
      .map([&](const at::Tensor& again) { return at::equal(image, again); });
}

int failed(const error& reason) {
  std::fprintf(stderr, "stream_blocks: %s\n", to_text(reason).c_str());
  return 1;
}

int run(const example_options& options) {
  const c10::InferenceMode no_gradients;
  example made;
  auto ready = start_runtime(made, options);
  if (ready && options.host_copy)
    ready = load_copy(made, options.path);
  if (ready)
    ready = make_model(made, options);
  if (!ready)
    return failed(ready.error());
  const auto image = denoise_streamed(made, options);
  if (!image)
    return failed(image.error());
  std::printf("the image's tokens: mean %.6g, deviation %.6g\n", image->mean().item<double>(),
              image->std().item<double>());
  if (options.verify) {
    const auto right = is_right(made, options, *image);
    if (!right)
      return failed(right.error());
    std::printf("with all weights in host memory: %s\n", *right ? "the same, bit for bit" : "NOT the same");
    if (!*right)
      return 1;
  }
  made.model.reset();
  if (const auto stopped = made.loader->stop(); !stopped)
    return failed(stopped.error());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Denoises with a transformer of FLUX.1's layout that does not fit the device: its blocks stream through, "
      "each on its way there while those before it compute. Weights are made up, so is the image.",
      "stream_blocks"};
  example_options options;
  add_options(app, options);
  CLI11_PARSE(app, argc, argv);
  return run(options);
}
