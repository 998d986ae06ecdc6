#pragma once
/// A device by the name that people give it: "host", "cuda" or "cuda:N".
///
/// Owns nothing. Any thread. Failure: `bad_argument` for another name, `unsupported` where CUDA, its driver or that GPU
/// is missing.

#include <memory>
#include <optional>
#include <string>

#include "gpu/host_device.hpp"

namespace longshore {

/// N of "cuda:N", 0 of "cuda"; nothing for any other word.
std::optional<int> cuda_index_of(const std::string& name);

/// `of_host`: how the host device shall be, which is made of ordinary memory. A GPU is as it is.
expected<std::shared_ptr<device>> find_device(const std::string& name, const host_device_options& of_host = {});

}  // namespace longshore
