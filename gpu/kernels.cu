// Scatter, cast and checksum on the device. All are bound by memory: what counts is that neighbouring threads touch
// neighbouring words, as wide as the addresses allow. Conversions and the mixing of checksums are the host's own code.
#include <cuda_runtime.h>

#include <cstdint>

#include "gpu/checksum.hpp"
#include "gpu/float_bits.hpp"
#include "gpu/kernels.hpp"

namespace longshore {
namespace {

constexpr unsigned block_threads = 256;
constexpr uint64_t blocks_most = 1 << 14;  // more than any device runs at once; loops take the rest

template <class T>
__device__ T* at(uint64_t address) {
  return reinterpret_cast<T*>(address);
}

/// The threads of a launch that share one task: which this is, and how many there are.
struct team {
  uint64_t rank;
  uint64_t size;
};

__device__ team whole_grid() {
  return {uint64_t{blockIdx.x} * blockDim.x + threadIdx.x, uint64_t{gridDim.x} * blockDim.x};
}

unsigned blocks_for(uint64_t threads) {
  const uint64_t blocks = (threads + block_threads - 1) / block_threads;
  return static_cast<unsigned>(blocks < 1 ? 1 : blocks < blocks_most ? blocks : blocks_most);
}

/// With both addresses equally far from a multiple of the word, all but the ends goes by words.
template <class word>
__device__ void copy_by(uint64_t source, uint64_t destination, uint64_t bytes, team threads) {
  const uint64_t unaligned = (sizeof(word) - destination % sizeof(word)) % sizeof(word);
  const uint64_t head = unaligned < bytes ? unaligned : bytes;
  const uint64_t words = (bytes - head) / sizeof(word);
  for (uint64_t i = threads.rank; i < words; i += threads.size)
    at<word>(destination + head)[i] = at<const word>(source + head)[i];
  const uint64_t tail = head + words * sizeof(word);
  for (uint64_t i = threads.rank; i < head; i += threads.size)
    at<uint8_t>(destination)[i] = at<const uint8_t>(source)[i];
  for (uint64_t i = tail + threads.rank; i < bytes; i += threads.size)
    at<uint8_t>(destination)[i] = at<const uint8_t>(source)[i];
}

/// A column of the grid for each piece.
__global__ void scatter_kernel(const __grid_constant__ cuda_scatter_batch batch) {
  const cuda_piece& piece = batch.pieces[blockIdx.x];
  const uint64_t source = batch.packed + piece.source_offset_bytes;
  const team threads{uint64_t{blockIdx.y} * blockDim.x + threadIdx.x, uint64_t{gridDim.y} * blockDim.x};
  const uint64_t apart = source ^ piece.destination;
  if (apart % 16 == 0)
    copy_by<uint4>(source, piece.destination, piece.length_bytes, threads);
  else if (apart % 8 == 0)
    copy_by<uint64_t>(source, piece.destination, piece.length_bytes, threads);
  else if (apart % 4 == 0)
    copy_by<uint32_t>(source, piece.destination, piece.length_bytes, threads);
  else if (apart % 2 == 0)
    copy_by<uint16_t>(source, piece.destination, piece.length_bytes, threads);
  else
    copy_by<uint8_t>(source, piece.destination, piece.length_bytes, threads);
}

template <class T>
struct alignas(4 * sizeof(T)) four {
  T values[4];
};

template <class T>
__device__ T load(uint64_t address) {
  T value = 0;
  for (unsigned i = 0; i < sizeof(T); ++i)
    value = static_cast<T>(value | static_cast<T>(at<const uint8_t>(address)[i]) << (8 * i));
  return value;
}

template <class T>
__device__ void store(uint64_t address, T value) {
  for (unsigned i = 0; i < sizeof(T); ++i)
    at<uint8_t>(address)[i] = static_cast<uint8_t>(value >> (8 * i));
}

/// Four elements a thread where both addresses allow it; else, and for what is left over, one, byte by byte.
template <float_format from, float_format to>
__global__ void cast_kernel(cuda_cast request) {
  using source_bits = typename float_element<from>::bits;
  using target_bits = typename float_element<to>::bits;
  const team threads = whole_grid();
  const bool wide =
      request.source % sizeof(four<source_bits>) == 0 && request.destination % sizeof(four<target_bits>) == 0;
  const uint64_t fours = wide ? request.elements / 4 : 0;
  for (uint64_t i = threads.rank; i < fours; i += threads.size) {
    const auto before = at<const four<source_bits>>(request.source)[i];
    four<target_bits> after;
    for (unsigned k = 0; k < 4; ++k)
      after.values[k] = convert<from, to>(before.values[k]);
    at<four<target_bits>>(request.destination)[i] = after;
  }
  for (uint64_t i = 4 * fours + threads.rank; i < request.elements; i += threads.size)
    store(request.destination + i * sizeof(target_bits),
          convert<from, to>(load<source_bits>(request.source + i * sizeof(source_bits))));
}

using cast_kernel_function = void (*)(cuda_cast);

template <float_format from>
cast_kernel_function cast_from(uint32_t to) {
  using enum float_format;
  switch (static_cast<float_format>(to)) {
    case f32:
      return &cast_kernel<from, f32>;
    case f16:
      return &cast_kernel<from, f16>;
    case bf16:
      return &cast_kernel<from, bf16>;
    case f8_e4m3:
      return &cast_kernel<from, f8_e4m3>;
    case f8_e5m2:
      return &cast_kernel<from, f8_e5m2>;
  }
  return nullptr;
}

cast_kernel_function cast_between(uint32_t from, uint32_t to) {
  using enum float_format;
  switch (static_cast<float_format>(from)) {
    case f32:
      return cast_from<f32>(to);
    case f16:
      return cast_from<f16>(to);
    case bf16:
      return cast_from<bf16>(to);
    case f8_e4m3:
      return cast_from<f8_e4m3>(to);
    case f8_e5m2:
      return cast_from<f8_e5m2>(to);
  }
  return nullptr;
}

__global__ void checksum_kernel(uint64_t source, uint64_t bytes, unsigned long long* sum) {
  const team threads = whole_grid();
  const uint64_t words = bytes / checksum_word_bytes, tail = bytes % checksum_word_bytes;
  const bool aligned = source % checksum_word_bytes == 0;
  uint64_t own = 0;
  for (uint64_t i = threads.rank; i < words; i += threads.size) {
    const uint64_t word = aligned ? at<const uint64_t>(source)[i] : load<uint64_t>(source + i * checksum_word_bytes);
    own += checksum_mix(word + i * checksum_step);
  }
  if (threads.rank == 0 && tail != 0) {
    uint64_t word = 0;
    for (unsigned i = 0; i < tail; ++i)
      word |= uint64_t{at<const uint8_t>(source + words * checksum_word_bytes)[i]} << (8 * i);
    own += checksum_mix(word + words * checksum_step);
  }
  // Sums of 64 bits wrap around, so the order of adding does not matter.
  for (unsigned offset = warpSize / 2; offset > 0; offset /= 2)
    own += __shfl_down_sync(0xffffffff, own, offset);
  if (threadIdx.x % warpSize == 0)
    atomicAdd(sum, own);
}

}  // namespace

// A launch's own answer, not cudaGetLastError's, which may be that of an allocation long ago.
int launch_scatter(const cuda_scatter_batch* batch, cuda_stream_handle stream) {
  constexpr uint64_t bytes_a_block = block_threads * sizeof(uint4) * 4;
  constexpr uint64_t rows_most = 64;
  uint64_t longest = 0;
  for (uint32_t i = 0; i < batch->count; ++i)
    longest = batch->pieces[i].length_bytes > longest ? batch->pieces[i].length_bytes : longest;
  const uint64_t rows = (longest + bytes_a_block - 1) / bytes_a_block;
  const dim3 grid{batch->count, static_cast<unsigned>(rows < rows_most ? rows : rows_most)};
  if (grid.x == 0 || grid.y == 0)
    return cudaSuccess;
  cuda_scatter_batch copy = *batch;
  void* arguments[] = {&copy};
  return cudaLaunchKernel(reinterpret_cast<const void*>(&scatter_kernel), grid, block_threads, arguments, 0,
                          static_cast<cudaStream_t>(stream));
}

int launch_cast(const cuda_cast* request, cuda_stream_handle stream) {
  const auto kernel = cast_between(request->from, request->to);
  if (kernel == nullptr)
    return cudaErrorInvalidValue;
  cuda_cast copy = *request;
  void* arguments[] = {&copy};
  return cudaLaunchKernel(reinterpret_cast<const void*>(kernel), blocks_for((request->elements + 3) / 4), block_threads,
                          arguments, 0, static_cast<cudaStream_t>(stream));
}

int launch_checksum_words(uint64_t source, uint64_t bytes, uint64_t* sum, cuda_stream_handle stream) {
  constexpr uint64_t words_a_thread = 8;  // few enough threads that their sums do not queue up at the one address
  const auto queue = static_cast<cudaStream_t>(stream);
  if (const auto code = cudaMemsetAsync(sum, 0, sizeof *sum, queue); code != cudaSuccess)
    return code;
  auto* total = reinterpret_cast<unsigned long long*>(sum);
  void* arguments[] = {&source, &bytes, &total};
  return cudaLaunchKernel(reinterpret_cast<const void*>(&checksum_kernel),
                          blocks_for(bytes / checksum_word_bytes / words_a_thread + 1), block_threads, arguments, 0,
                          queue);
}

}  // namespace longshore
