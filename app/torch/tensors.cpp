#include "app/torch/tensors.hpp"

#include <cassert>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include "app/torch/memory_views.hpp"

namespace longshore {
namespace {

struct placed_file {
  const held_file* on_host = nullptr;
  const device_file* on_device = nullptr;  // one of the two

  const std::string& path() const { return on_host ? on_host->path() : on_device->path(); }
  const std::vector<tensor_info>& tensors() const { return on_host ? on_host->tensors() : on_device->tensors(); }

  /// Not const, as torch knows no constant tensors.
  void* address_of(size_t tensor) const {
    if (on_device)
      return reinterpret_cast<void*>(on_device->address_of(tensor));
    return const_cast<std::byte*>(on_host->bytes_of(tensors()[tensor]).data());
  }
};

expected<std::vector<placed_file>> files_of(const leased_model& model, const tensor_options& options) {
  const auto place = options.place.value_or(model.device_files.empty() ? tier::host : tier::device);
  std::vector<placed_file> files;
  if (place == tier::host)
    for (const auto& file : model.files)
      files.push_back({.on_host = file.get()});
  else
    for (const auto& file : model.device_files)
      files.push_back({.on_device = file.get()});
  const auto number = options.file.value_or(0);
  if (number >= files.size())
    return unexpected(error{.code = errc::not_found,
                            .what = "the model \"" + model.key + "\" has " + std::to_string(files.size()) +
                                    " files in " + (place == tier::host ? "host" : "device") +
                                    " memory, none of number " + std::to_string(number)});
  if (options.file)
    return std::vector{files[number]};
  return files;
}

expected<std::shared_ptr<const memory_hold>> hold(const std::shared_ptr<const model_lease>& lease,
                                                  const placed_file& file, const c10::Stream* wanted) {
  auto stream = compute_stream(file.on_host ? "host" : file.on_device->target().name(), wanted);
  if (!stream)
    return unexpected(stream.error());
  return std::make_shared<const memory_hold>(lease, std::move(*stream));
}

expected<at::Tensor> make(const placed_file& file, size_t index, const std::shared_ptr<const memory_hold>& held) {
  const auto& tensor = file.tensors()[index];
  const auto form = form_of(tensor, file.path());
  if (!form)
    return unexpected(form.error());
  auto* data = file.address_of(index);
  const auto type = static_cast<at::ScalarType>(form->type);
  const auto is_aligned = reinterpret_cast<uintptr_t>(data) % at::elementSize(type) == 0;
  if (is_aligned || tensor.size_bytes() == 0)
    return view(data, *form, held);
  assert(!held->stream());  // devices align every tensor
  auto copy = at::empty(form->shape, at::TensorOptions{type});
  std::memcpy(copy.mutable_data_ptr(), data, tensor.size_bytes());
  return copy;
}

unexpected not_the_only(const tensor_info& tensor, const placed_file& file) {
  return unexpected(error{.code = errc::bad_argument,
                          .what = "another file of the model has a tensor of this name too; ask for one file's",
                          .path = file.path(),
                          .where = tensor.name});
}

expected<named_tensors> make_all(const std::vector<placed_file>& files,
                                 const std::shared_ptr<const memory_hold>& held) {
  named_tensors tensors;
  for (const auto& file : files)
    for (size_t i = 0; i < file.tensors().size(); ++i) {
      auto made = make(file, i, held);
      if (!made)
        return unexpected(made.error());
      if (!tensors.emplace(file.tensors()[i].name, std::move(*made)).second)
        return not_the_only(file.tensors()[i], file);
    }
  return tensors;
}

expected<at::Tensor> make_one(const std::vector<placed_file>& files, std::string_view name,
                              const std::shared_ptr<const memory_hold>& held) {
  expected<at::Tensor> made =
      unexpected(error{.code = errc::not_found, .what = "the model has no such tensor", .where = std::string{name}});
  bool found = false;
  for (const auto& file : files)
    for (size_t i = 0; i < file.tensors().size(); ++i)
      if (file.tensors()[i].name == name) {
        if (std::exchange(found, true))
          return not_the_only(file.tensors()[i], file);
        made = make(file, i, held);
      }
  return made;
}

/// What both calls share: the files that are asked for, and what their tensors will hold. torch's exceptions end here.
template <class Result, class Make>
expected<Result> with_files(const std::shared_ptr<const model_lease>& lease, const tensor_options& options,
                            const Make& make_from) {
  assert(lease);
  try {
    const auto files = files_of(lease->model(), options);
    if (!files)
      return unexpected(files.error());
    const auto held = hold(lease, files->front(), options.stream);
    if (!held)
      return unexpected(held.error());
    return make_from(*files, *held);
  } catch (const c10::Error& refused) {
    return unexpected(error{.code = errc::unsupported,
                            .what = std::string{"torch cannot do it: "} + refused.what_without_backtrace()});
  }
}

}  // namespace

expected<named_tensors> tensors_of(const std::shared_ptr<const model_lease>& lease, const tensor_options& options) {
  return with_files<named_tensors>(lease, options, make_all);
}

expected<at::Tensor> tensor_of(const std::shared_ptr<const model_lease>& lease, std::string_view name,
                               const tensor_options& options) {
  return with_files<at::Tensor>(lease, options,
                                [name](const auto& files, const auto& held) { return make_one(files, name, held); });
}

}  // namespace longshore
