#pragma once
/// A leased model's weights as torch's tensors, where they lie: no bytes are copied, and each tensor holds the lease.
///
/// Owns nothing: the storage of a tensor shares the lease, so the bytes stay until the last view of the last tensor is
/// gone, past the runtime's end if need be. The bytes are there before the lease is, so no stream has to wait for them;
/// but work that uses them may still be queued when the last tensor goes. On a device that torch computes on, the lease
/// therefore ends only when the caller's stream has done what was queued in it by then; a thread of torch's pool waits
/// for that, and nobody else.
/// The tensors are for reading, `clone()` one to write: all leases of a model share its bytes, so that all would see
/// it. A file never changes by it. Whoever wants to write loads with `cache_mode::unshared`. One kind is copied after
/// all, to memory of torch's own that counts under no limit: what lies in host memory at no multiple of its element's
/// size. The format allows that, torch does not. Needs none of torch's headers; include <ATen/ATen.h> or
/// <torch/torch.h> to use what comes. Limits: torch's, such as 63 bits for a shape. Thread rule: any thread. Failure:
/// `not_found` for a tensor, file or place that the model does not have; `unsupported` with the tensor's name where
/// torch has no such type or shape, and for a device that this torch was not built for; `bad_argument` for a stream of
/// another device, and for a name that two files of the model have (those of a text encoder may: take each file by its
/// number).

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "cache/error.hpp"
#include "cache/file_identity.hpp"
#include "messages/model_lease.hpp"

namespace at {
class Tensor;
}
namespace c10 {
class Stream;
}

namespace longshore {

struct tensor_options {
  std::optional<tier> place{};          ///< none: the device if the model is there, else host memory
  std::optional<size_t> file{};         ///< the number of one of the model's files there; none: all of them
  const c10::Stream* stream = nullptr;  ///< on which the tensors are used; null: the calling thread's current one
};

using named_tensors = std::map<std::string, at::Tensor, std::less<>>;

/// All tensors of the model, or of one of its files; or the first failure.
expected<named_tensors> tensors_of(const std::shared_ptr<const model_lease>& lease, const tensor_options& options = {});

/// One of them. Looks through all names: whoever needs many asks for all.
expected<at::Tensor> tensor_of(const std::shared_ptr<const model_lease>& lease, std::string_view name,
                               const tensor_options& options = {});

}  // namespace longshore
