#pragma once
/// The kernels' launches, between the two sources of liblongshore_cuda.so.
///
/// Owns nothing. Each queues in the stream and returns at once; any address and alignment will do. Failure: the
/// runtime's code of the launch.

#include "gpu/cuda_table.hpp"

namespace longshore {

int launch_scatter(const cuda_scatter_batch* batch, cuda_stream_handle stream);
int launch_cast(const cuda_cast* request, cuda_stream_handle stream);
int launch_checksum_words(uint64_t source, uint64_t bytes, uint64_t* sum, cuda_stream_handle stream);

}  // namespace longshore
