#include <cstdio>

#include <ATen/ATen.h>

#include <actors/runtime.hpp>
#include <app/torch/streamed_sequence.hpp>
#include <gpu/find_device.hpp>

int failed(const longshore::error& reason) {
  std::puts(longshore::to_text(reason).c_str());
  return 1;
}

int main(int argc, char** argv) {
  const std::string path = argc > 1 ? argv[1] : "model.safetensors", name = argc > 2 ? argv[2] : "cuda";
  const auto device = longshore::find_device(name);  // "host" to try it without a GPU
  if (!device)
    return failed(device.error());
  const auto runtime = longshore::runtime::start({.target = *device});
  if (!runtime)
    return failed(runtime.error());
  const auto source = longshore::find_source({path});
  if (!source)
    return failed(source.error());
  longshore::sequence_request request{.sources = {{.files = *source}}, .device_budget_bytes = 1 << 20};
  for (const std::string layer : {"blocks.0", "blocks.1", "blocks.2", "blocks.3"})
    request.layers.push_back({.name = layer,
                              .tensors = {{0, layer + ".weight"}, {0, layer + ".bias"}},
                              .run = [layer](const at::Tensor& input, const longshore::named_tensors& weights) {
                                return at::relu(
                                    at::linear(input, weights.at(layer + ".weight"), weights.at(layer + ".bias")));
                              }});
  const auto model = longshore::streamed_sequence::make(**runtime, std::move(request));
  if (!model)
    return failed(model.error());
  auto state = at::ones({1, 256}, at::TensorOptions{at::Device{name == "host" ? "cpu" : name}});
  for (int step = 0; step < 3; ++step) {
    const auto output = (*model)->forward(state);
    if (!output)
      return failed(output.error());
    state = *output;
    std::printf("step %d: %.6g\n", step, state.norm().item<double>());
  }
}
