#include <cstdio>

#include <ATen/ATen.h>

#include <actors/runtime.hpp>
#include <app/torch/tensors.hpp>

int failed(const longshore::error& reason) {
  std::puts(longshore::to_text(reason).c_str());
  return 1;
}

int main(int argc, char** argv) {
  const std::string path = argc > 1 ? argv[1] : "model.safetensors";
  auto runtime = longshore::runtime::start({.host_limit_bytes = 8ull << 30});
  if (!runtime)
    return failed(runtime.error());
  auto source = longshore::find_source({path});
  if (!source)
    return failed(source.error());
  auto answer = (*runtime)->load({.key = "my model", .kind = longshore::model_kind::ckpt, .source = *source});
  if (!answer)
    return failed(answer.error());
  auto tensors = longshore::tensors_of(answer->lease);
  if (!tensors)
    return failed(tensors.error());
  answer->lease.reset();  // each tensor holds it, so the bytes stay where they are
  for (const auto& [name, weight] : *tensors) {
    if (weight.dim() != 2 || !weight.is_floating_point())
      continue;
    const auto answer_to_ones = at::matmul(weight.to(at::kFloat), at::ones(weight.size(1)));
    std::printf("%s %.6g\n", name.c_str(), answer_to_ones.norm().item<double>());
  }
}
