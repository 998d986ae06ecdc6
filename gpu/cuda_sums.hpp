#pragma once
/// Places for checksums on their way back: a word on the device, where a kernel adds up, and one in pinned memory,
/// where the copy of it lands. A copy straight to where the caller wants it would stop him: his memory is not pinned.
///
/// Owns both ranges. Limit: `count` checksums in flight; one more is `overloaded`. Thread rule: all of it from any
/// thread. Failure: as the runtime's, when it is made. Its device must be current when it is made and when it goes.

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "gpu/cuda_calls.hpp"

namespace longshore {

class cuda_sums {
public:
  struct place {
    size_t number;
    uint64_t* on_device;
    uint64_t* on_host;
  };

  static expected<std::unique_ptr<cuda_sums>> make(const cuda_calls& calls, size_t count);
  ~cuda_sums();
  cuda_sums(const cuda_sums&) = delete;
  cuda_sums& operator=(const cuda_sums&) = delete;

  expected<place> take();
  void give_back(size_t number);

private:
  cuda_sums(const cuda_calls& calls, size_t count);

  const cuda_calls& calls_;
  const size_t bytes_;
  uint64_t* on_host_ = nullptr;
  bool registered_ = false;
  void* on_device_ = nullptr;
  std::mutex mutex_;
  std::vector<size_t> unused_;
};

}  // namespace longshore
