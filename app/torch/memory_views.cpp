#include "app/torch/memory_views.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <ATen/core/Tensor.h>
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

}  // namespace

/// torch counts strides too in 63 bits, and a dimension of 0 does not end them.
expected<torch_form> form_of(const tensor_info& tensor, const std::string& path) {
  const auto fault = [&](std::string what) {
    return unexpected(error{.code = errc::unsupported, .what = std::move(what), .path = path, .where = tensor.name});
  };
  const auto type = scalar_type_of(tensor.type);
  if (!type)
    return fault("torch has no type for " + std::string{name(tensor.type)});
  torch_form form{.type = static_cast<int8_t>(*type), .shape = {}};
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

/// The memory of a host device is the CPU's own.
expected<stream_ptr> compute_stream(const std::string& device_name, const c10::Stream* wanted) {
  if (device_name == "host")
    return nullptr;
  const at::Device device{device_name};
  if (!c10::impl::hasDeviceGuardImpl(device.type()))
    return unexpected(error{.code = errc::unsupported, .what = "this torch was built without " + device.str()});
  const auto stream = wanted ? *wanted : c10::impl::VirtualGuardImpl{device.type()}.getStream(device);
  if (stream.device() != device)
    return unexpected(error{.code = errc::bad_argument,
                            .what = "a stream of " + stream.device().str() + " for tensors on " + device.str()});
  return std::make_shared<const c10::Stream>(stream);
}

queue_mark::queue_mark(const c10::Stream& stream) {
  try {
    auto event = std::make_shared<c10::Event>(stream.device_type());
    event->record(stream);
    event_ = std::move(event);
  } catch (const c10::Error&) {
    event_.reset();
  }
}

void queue_mark::wait() const {
  try {
    if (event_)
      event_->synchronize();
  } catch (const c10::Error&) {
    return;  // of such a device nothing runs any more either
  }
}

/// Not here but on torch's thread: what is queued may take long, and whoever drops a tensor has other things to do.
memory_hold::~memory_hold() {
  if (memory_ && stream_)
    at::launch([mark = queue_mark{*stream_}, memory = std::move(memory_)] { mark.wait(); });
}

at::Tensor view(void* data, const torch_form& form, const std::shared_ptr<const memory_hold>& held) {
  using share = std::shared_ptr<const memory_hold>;
  const auto device = held->stream() ? held->stream()->device() : at::Device{at::kCPU};
  return at::for_blob(data, form.shape)
      .context(new share{held}, [](void* mine) { delete static_cast<share*>(mine); })
      .options(at::TensorOptions{static_cast<at::ScalarType>(form.type)}.device(device))
      .target_device(device)
      .make_tensor();
}

}  // namespace longshore
