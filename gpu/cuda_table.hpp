#pragma once
/// What Longshore asks of CUDA, as a table of functions: the runtime's own calls, and the three kernels.
///
/// No header of CUDA is needed to include this, none of its libraries to link what does. `liblongshore_cuda.so` hands
/// out a filled table (gpu/cuda_library.hpp loads it); a test hands a table of its own. Owns nothing. Thread rule and
/// limits: the CUDA runtime's. Failure: every function answers a cudaError_t as an int, 0 for success; a kernel's
/// function answers for its launch. Work that fails later is told by the calls that wait for it. The layout is an
/// interface between two builds: what changes here changes `cuda_table_version`.

#include <cstddef>
#include <cstdint>

namespace longshore {

inline constexpr uint32_t cuda_table_version = 1;

/// cudaError_t values that mean more than "it failed".
namespace cuda_code {
inline constexpr int success = 0;
inline constexpr int out_of_memory = 2;
inline constexpr int driver_too_old = 35;
inline constexpr int no_device = 100;
inline constexpr int not_ready = 600;
inline constexpr int already_registered = 712;
inline constexpr int not_registered = 713;
inline constexpr int not_supported = 801;
}  // namespace cuda_code

enum class cuda_copy_kind : int { host_to_device = 1, device_to_host = 2 };  // cudaMemcpyKind

inline constexpr unsigned cuda_register_portable = 1;     // cudaHostRegisterPortable: pinned for every device
inline constexpr unsigned cuda_stream_non_blocking = 1;   // cudaStreamNonBlocking: does not wait for the default stream
inline constexpr unsigned cuda_event_blocking_sync = 1;   // cudaEventBlockingSync: who waits sleeps
inline constexpr unsigned cuda_event_disable_timing = 2;  // cudaEventDisableTiming

/// A piece of a scatter, on the device.
struct cuda_piece {
  uint64_t source_offset_bytes;  ///< from `packed`
  uint64_t destination;
  uint64_t length_bytes;
};

/// What one launch of the scatter kernel gets: all of it a parameter of the kernel, so nothing of it must stay alive.
/// 4 KiB is as much as a kernel's parameters hold on every device and driver.
struct cuda_scatter_batch {
  static constexpr uint32_t pieces_most = 170;

  uint64_t packed;
  uint32_t count;
  uint32_t reserved;
  cuda_piece pieces[pieces_most];
};
static_assert(sizeof(cuda_scatter_batch) == 4096);

/// Numbers of `float_format`, and device addresses.
struct cuda_cast {
  uint64_t source;
  uint64_t destination;
  uint64_t elements;
  uint32_t from;
  uint32_t to;
};

using cuda_stream_handle = void*;  // cudaStream_t
using cuda_event_handle = void*;   // cudaEvent_t

struct cuda_table {
  uint32_t version;
  uint32_t size_bytes;

  int (*get_device_count)(int* count);
  int (*set_device)(int index);
  const char* (*get_error_string)(int code);
  int (*mem_get_info)(size_t* free_bytes, size_t* total_bytes);
  int (*malloc)(void** address, size_t bytes);
  int (*free)(void* address);
  int (*host_register)(void* address, size_t bytes, unsigned flags);
  int (*host_unregister)(void* address);

  int (*stream_create_with_flags)(cuda_stream_handle* stream, unsigned flags);
  int (*stream_destroy)(cuda_stream_handle stream);
  int (*stream_synchronize)(cuda_stream_handle stream);
  int (*stream_wait_event)(cuda_stream_handle stream, cuda_event_handle event, unsigned flags);
  int (*memcpy_async)(void* destination, const void* source, size_t bytes, int kind, cuda_stream_handle stream);

  int (*event_create_with_flags)(cuda_event_handle* event, unsigned flags);
  int (*event_record)(cuda_event_handle event, cuda_stream_handle stream);
  int (*event_query)(cuda_event_handle event);
  int (*event_synchronize)(cuda_event_handle event);
  int (*event_destroy)(cuda_event_handle event);

  int (*scatter)(const cuda_scatter_batch* batch, cuda_stream_handle stream);
  int (*cast)(const cuda_cast* request, cuda_stream_handle stream);
  /// The sum of gpu/checksum.hpp over the bytes' words, written to `sum` on the device.
  int (*checksum_words)(uint64_t source, uint64_t bytes, uint64_t* sum, cuda_stream_handle stream);
};

}  // namespace longshore
