#pragma once
/// A GPU behind the device interface, over a table of CUDA's functions (gpu/cuda_table.hpp), so that tests bring
/// theirs.
///
/// Owns its streams with a thread each, and until it goes also the allocations and registrations that were not given
/// back. The table must outlive it. Every call makes the device current on the calling thread and leaves it so.
/// Streams do not wait for the default stream, nor it for them. Copies to or from host memory that nobody registered
/// work, but stop the caller. `free` waits inside CUDA until the device is idle. Addresses are not checked: a wrong one
/// ends in the driver's error, after which CUDA refuses everything in this process.
/// `unregister_host` of memory with copies in flight is the caller's mistake, as is a device destroyed on one of its
/// own threads.
/// Limits: `checksums_most` in flight, and CUDA's own. Thread rule: as in device.hpp.
/// Failure: as in device.hpp and gpu/cuda_calls.hpp. `unsupported` without such a GPU or its driver. `bad_argument` for
/// an unknown stream, event or registration, no bytes to allocate, host ranges that are not whole pages, a cast onto
/// itself. A registration that CUDA fails to undo is tried again when the device goes.

#include <memory>

#include "gpu/cuda_table.hpp"
#include "gpu/device.hpp"

namespace longshore {

struct cuda_device_options {
  int index = 0;  ///< of those that the driver shows
  size_t checksums_most = 512;
};

expected<std::unique_ptr<device>> make_cuda_device(const cuda_table& table, cuda_device_options options = {});

}  // namespace longshore
