#include "app/torch/tensors.hpp"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/Parallel.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/core/Stream.h>

namespace longshore {
namespace {

/// None for the two types that torch does not have.
std::optional<at::ScalarType> scalar_type_of(dtype type) {
  switch (type) {
    case dtype::F4:
      return at::ScalarType::Float4_e2m1fn_x2;
    case dtype::F6_E2M3:
    case dtype::F6_E3M2:
      return std::nullopt;
    case dtype::BOOL:
      return at::ScalarType::Bool;
    case dtype::U8:
      return at::ScalarType::Byte;
    case dtype::I8:
      return at::ScalarType::Char;
    case dtype::F8_E5M2:
      return at::ScalarType::Float8_e5m2;
    case dtype::F8_E4M3:
      return at::ScalarType::Float8_e4m3fn;
    case dtype::F8_E8M0:
      return at::ScalarType::Float8_e8m0fnu;
    case dtype::F8_E4M3FNUZ:
      return at::ScalarType::Float8_e4m3fnuz;
    case dtype::F8_E5M2FNUZ:
      return at::ScalarType::Float8_e5m2fnuz;
    case dtype::I16:
      return at::ScalarType::Short;
    case dtype::U16:
      return at::ScalarType::UInt16;
    case dtype::F16:
      return at::ScalarType::Half;
    case dtype::BF16:
      return at::ScalarType::BFloat16;
    case dtype::I32:
      return at::ScalarType::Int;
    case dtype::U32:
      return at::ScalarType::UInt32;
    case dtype::F32:
      return at::ScalarType::Float;
    case dtype::C64:
      return at::ScalarType::ComplexFloat;
    case dtype::F64:
      return at::ScalarType::Double;
    case dtype::I64:
      return at::ScalarType::Long;
    case dtype::U64:
      return at::ScalarType::UInt64;
  }
  return std::nullopt;
}

/// What is the same for every tensor of a call: where it is, and how long the memory lasts.
class tensor_hold {
public:
  tensor_hold(std::shared_ptr<const model_lease> lease, at::Device device, std::optional<c10::Stream> stream)
      : lease_(std::move(lease)), device_(device), stream_(stream) {}
  ~tensor_hold();
  tensor_hold(const tensor_hold&) = delete;
  tensor_hold& operator=(const tensor_hold&) = delete;

  at::Device device() const { return device_; }

private:
  std::shared_ptr<const model_lease> lease_;
  at::Device device_;
  std::optional<c10::Stream> stream_;  // none where work is over when the call that asked for it returns
};

/// Not here but on torch's thread: what is queued may take long, and whoever drops a tensor has other things to do.
tensor_hold::~tensor_hold() {
  if (!stream_)
    return;
  try {
    const auto mark = std::make_shared<c10::Event>(stream_->device_type());
    mark->record(*stream_);
    at::launch([mark, lease = std::move(lease_)] { mark->synchronize(); });
  } catch (const c10::Error&) {
    lease_.reset();  // a device that can no longer mark a stream runs nothing any more
  }
}

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

/// The memory of a host device is the CPU's own.
at::Device device_of(const placed_file& file) {
  if (file.on_host || file.on_device->target().name() == "host")
    return at::kCPU;
  return at::Device{file.on_device->target().name()};
}

expected<std::shared_ptr<const tensor_hold>> hold(const std::shared_ptr<const model_lease>& lease,
                                                  const placed_file& file, const c10::Stream* wanted) {
  const auto device = device_of(file);
  if (device.is_cpu())
    return std::make_shared<const tensor_hold>(lease, device, std::nullopt);
  if (!c10::impl::hasDeviceGuardImpl(device.type()))
    return unexpected(error{.code = errc::unsupported, .what = "this torch was built without " + device.str()});
  const auto stream = wanted ? *wanted : c10::impl::VirtualGuardImpl{device.type()}.getStream(device);
  if (stream.device() != device)
    return unexpected(error{.code = errc::bad_argument,
                            .what = "a stream of " + stream.device().str() + " for tensors on " + device.str()});
  return std::make_shared<const tensor_hold>(lease, device, stream);
}

struct torch_form {
  at::ScalarType type;
  std::vector<int64_t> shape;
};

/// torch counts strides too in 63 bits, and a dimension of 0 does not end them.
expected<torch_form> form_of(const tensor_info& tensor, const std::string& path) {
  const auto fault = [&](std::string what) {
    return unexpected(error{.code = errc::unsupported, .what = std::move(what), .path = path, .where = tensor.name});
  };
  const auto type = scalar_type_of(tensor.type);
  if (!type)
    return fault("torch has no type for " + std::string{name(tensor.type)});
  torch_form form{.type = *type, .shape = {}};
  int64_t elements = 1;
  for (const auto dimension : tensor.shape) {
    if (__builtin_mul_overflow(elements, std::max<uint64_t>(dimension, 1), &elements))
      return fault("the shape is too large for torch");
    form.shape.push_back(static_cast<int64_t>(dimension));
  }
  if (tensor.type == dtype::F4) {
    if (form.shape.empty() || form.shape.back() % 2 != 0)
      return fault("torch has F4 in pairs along the last dimension, which is odd here");
    form.shape.back() /= 2;
  }
  return form;
}

at::Tensor view(void* data, const torch_form& form, const std::shared_ptr<const tensor_hold>& held) {
  using share = std::shared_ptr<const tensor_hold>;
  return at::for_blob(data, form.shape)
      .context(new share{held}, [](void* mine) { delete static_cast<share*>(mine); })
      .options(at::TensorOptions{form.type}.device(held->device()))
      .target_device(held->device())
      .make_tensor();
}

expected<at::Tensor> make(const placed_file& file, size_t index, const std::shared_ptr<const tensor_hold>& held) {
  const auto& tensor = file.tensors()[index];
  const auto form = form_of(tensor, file.path());
  if (!form)
    return unexpected(form.error());
  auto* data = file.address_of(index);
  const auto is_aligned = reinterpret_cast<uintptr_t>(data) % at::elementSize(form->type) == 0;
  if (is_aligned || tensor.size_bytes() == 0)
    return view(data, *form, held);
  assert(held->device().is_cpu());  // devices align every tensor
  auto copy = at::empty(form->shape, at::TensorOptions{form->type});
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
                                 const std::shared_ptr<const tensor_hold>& held) {
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
                              const std::shared_ptr<const tensor_hold>& held) {
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
