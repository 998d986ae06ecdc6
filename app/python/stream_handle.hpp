#pragma once
/// A stream of a model's layers as the Python module drives it.
///
/// Owns the streamed model and a share of its runtime until `close`; uses, and memory that tensors look at, own theirs.
/// Knows nothing of Python. Thread rule: every method from any thread; a use by one at a time. Limits: the stream's.
/// Failure: the stream's errors; `stopped` once closed. In a forked child nothing is freed.

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

#include "app/python/runtime_handle.hpp"

namespace longshore::python {

/// One of the models that a stream's layers are made of: files, or what a load was answered with.
struct source_order {
  std::vector<std::string> paths{};
  std::shared_ptr<pending_load> copy{};
  std::string cast_to{};
};

/// A piece of device memory with weights in it, for as long as anyone looks at it.
class weight_memory {
public:
  weight_memory(std::shared_ptr<const device_block> block, std::string device)
      : block_(std::move(block)), device_(std::move(device)) {}

  uint64_t address() const { return block_->address(); }
  uint64_t bytes() const { return block_->bytes(); }
  const std::string& device() const { return device_; }

private:
  std::shared_ptr<const device_block> block_;
  std::string device_;
};

class stream_handle {
public:
  static expected<std::unique_ptr<stream_handle>> open(runtime_handle& runtime,
                                                       const std::vector<source_order>& sources, stream_request request,
                                                       std::string device);
  ~stream_handle();
  stream_handle(const stream_handle&) = delete;
  stream_handle& operator=(const stream_handle&) = delete;

  const std::string& device() const { return device_; }

  /// The streamed model, which is there as long as this pointer.
  expected<std::shared_ptr<streamed_model>> get();
  expected<std::shared_ptr<layer_use>> acquire(uint32_t layer, std::function<bool()> goes_on);

  /// What is in use stays; no layer comes any more. Safe to call again.
  void close();

private:
  struct parts {
    std::shared_ptr<runtime> running;
    std::unique_ptr<streamed_model> model;  // ends before its runtime
  };

  stream_handle(std::shared_ptr<parts> opened, std::string device)
      : opened_(std::move(opened)), device_(std::move(device)), process_(getpid()) {}

  std::mutex mutex_;  // of opened_
  std::shared_ptr<parts> opened_;
  std::string device_;
  pid_t process_;
};

}  // namespace longshore::python
