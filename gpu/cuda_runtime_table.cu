// What liblongshore_cuda.so hands out: the runtime that is linked into it, and the kernels.
#include <cuda_runtime.h>

#include "gpu/cuda_table.hpp"
#include "gpu/kernels.hpp"

namespace longshore {
namespace {

cudaStream_t as_stream(cuda_stream_handle stream) { return static_cast<cudaStream_t>(stream); }
cudaEvent_t as_event(cuda_event_handle event) { return static_cast<cudaEvent_t>(event); }

// The numbers that gpu/cuda_table.hpp writes out so as not to need CUDA's headers.
static_assert(cuda_code::success == cudaSuccess && cuda_code::out_of_memory == cudaErrorMemoryAllocation &&
              cuda_code::driver_too_old == cudaErrorInsufficientDriver && cuda_code::no_device == cudaErrorNoDevice &&
              cuda_code::not_ready == cudaErrorNotReady && cuda_code::not_supported == cudaErrorNotSupported &&
              cuda_code::already_registered == cudaErrorHostMemoryAlreadyRegistered &&
              cuda_code::not_registered == cudaErrorHostMemoryNotRegistered);
static_assert(static_cast<int>(cuda_copy_kind::host_to_device) == cudaMemcpyHostToDevice &&
              static_cast<int>(cuda_copy_kind::device_to_host) == cudaMemcpyDeviceToHost);
static_assert(cuda_register_portable == cudaHostRegisterPortable && cuda_stream_non_blocking == cudaStreamNonBlocking &&
              cuda_event_blocking_sync == cudaEventBlockingSync && cuda_event_disable_timing == cudaEventDisableTiming);

constexpr cuda_table table{
    .version = cuda_table_version,
    .size_bytes = sizeof(cuda_table),
    .get_device_count = [](int* count) -> int { return cudaGetDeviceCount(count); },
    .set_device = [](int index) -> int { return cudaSetDevice(index); },
    .get_error_string = [](int code) { return cudaGetErrorString(static_cast<cudaError_t>(code)); },
    .mem_get_info = [](size_t* free_bytes, size_t* total_bytes) -> int {
      return cudaMemGetInfo(free_bytes, total_bytes);
    },
    .malloc = [](void** address, size_t bytes) -> int { return cudaMalloc(address, bytes); },
    .free = [](void* address) -> int { return cudaFree(address); },
    .host_register = [](void* address, size_t bytes, unsigned flags) -> int {
      return cudaHostRegister(address, bytes, flags);
    },
    .host_unregister = [](void* address) -> int { return cudaHostUnregister(address); },
    .stream_create_with_flags = [](cuda_stream_handle* stream, unsigned flags) -> int {
      return cudaStreamCreateWithFlags(reinterpret_cast<cudaStream_t*>(stream), flags);
    },
    .stream_destroy = [](cuda_stream_handle stream) -> int { return cudaStreamDestroy(as_stream(stream)); },
    .stream_synchronize = [](cuda_stream_handle stream) -> int { return cudaStreamSynchronize(as_stream(stream)); },
    .stream_wait_event = [](cuda_stream_handle stream, cuda_event_handle event, unsigned flags) -> int {
      return cudaStreamWaitEvent(as_stream(stream), as_event(event), flags);
    },
    .memcpy_async = [](void* destination, const void* source, size_t bytes, int kind,
                       cuda_stream_handle stream) -> int {
      return cudaMemcpyAsync(destination, source, bytes, static_cast<cudaMemcpyKind>(kind), as_stream(stream));
    },
    .event_create_with_flags = [](cuda_event_handle* event, unsigned flags) -> int {
      return cudaEventCreateWithFlags(reinterpret_cast<cudaEvent_t*>(event), flags);
    },
    .event_record = [](cuda_event_handle event, cuda_stream_handle stream) -> int {
      return cudaEventRecord(as_event(event), as_stream(stream));
    },
    .event_query = [](cuda_event_handle event) -> int { return cudaEventQuery(as_event(event)); },
    .event_synchronize = [](cuda_event_handle event) -> int { return cudaEventSynchronize(as_event(event)); },
    .event_destroy = [](cuda_event_handle event) -> int { return cudaEventDestroy(as_event(event)); },
    .scatter = &launch_scatter,
    .cast = &launch_cast,
    .checksum_words = &launch_checksum_words,
};

}  // namespace
}  // namespace longshore

extern "C" __attribute__((visibility("default"))) const longshore::cuda_table* longshore_cuda_table() {
  return &longshore::table;
}
