#pragma once
/// Finds CUDA at run time, so that one build runs on machines with a GPU and on those without.
///
/// `liblongshore_cuda.so` is the only part that nvcc builds. It holds the kernels and a CUDA runtime of its own, linked
/// statically, and hands out a table of both. So a machine needs NVIDIA's driver and no toolkit, there is no version of
/// libcudart to look for, and the runtime always is the one that the kernels were compiled for. Where another runtime
/// lives in the process (torch brings one), both use the driver's one primary context of a device: addresses, pinned
/// memory and streams mean the same to both.
///
/// Owns the library once it is loaded, until the process ends. Safe from any thread.
/// Failure: `unsupported`, with the places where the library was looked for and the loader's words.

#include <string>
#include <vector>

#include "cache/error.hpp"
#include "gpu/cuda_table.hpp"

namespace longshore {

/// Where the library is looked for, in order: the file that the environment's LONGSHORE_CUDA_LIBRARY names and nothing
/// else; or beside the program or shared library that this function is in, then where the loader looks by itself.
std::vector<std::string> cuda_library_places();

/// The table of the first library that loads and is of this version. Says nothing yet of there being a GPU.
expected<const cuda_table*> load_cuda_table();

/// GPUs that the driver shows. `unsupported` without a driver, or with one older than the library's runtime.
expected<int> cuda_device_count(const cuda_table& table);

}  // namespace longshore
