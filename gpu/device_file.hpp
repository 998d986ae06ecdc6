#pragma once
/// One file of weights in a device's memory: where each of its tensors lies.
///
/// Owns one allocation of the device and gives it back. Immutable once its load is done, and shared by pointer, from
/// any thread. Failure: of the allocation, as the device has it, with the file's path; of reading back, as copies fail.

#include <memory>
#include <string>
#include <vector>

#include "cache/error.hpp"
#include "gpu/device.hpp"
#include "gpu/device_layout.hpp"
#include "io/safetensors.hpp"

namespace longshore {

class device_file {
public:
  /// Memory for all tensors, not yet filled. A file without a byte of tensors takes none.
  static expected<std::shared_ptr<const device_file>> allocate(std::shared_ptr<device> target, const std::string& path,
                                                               const safetensors_header& header,
                                                               const cast_rule& rule = {});
  ~device_file();
  device_file(const device_file&) = delete;
  device_file& operator=(const device_file&) = delete;

  const std::string& path() const { return path_; }
  /// As the device has them: of what was cast, the types and sizes there.
  const std::vector<tensor_info>& tensors() const { return header_.tensors; }
  const device_layout& layout() const { return layout_; }
  device& target() const { return *target_; }

  device_address address() const { return address_; }
  device_address address_of(size_t tensor) const { return address_ + layout_.offset_bytes(tensor); }

private:
  device_file(std::shared_ptr<device> target, std::string path, const safetensors_header& header, const cast_rule& rule)
      : target_(std::move(target)),
        path_(std::move(path)),
        header_(header_on_device(header, rule)),
        layout_(header, rule) {}

  std::shared_ptr<device> target_;
  std::string path_;
  safetensors_header header_;
  device_layout layout_;
  device_address address_ = 0;
};

/// Blocks until all work queued in the stream so far is over, and says how it went.
expected<void> wait_for(device& target, stream_id stream);

/// The same, however it went. False when the device does not say when that is.
bool let_end(device& target, stream_id stream);

/// The bytes of a tensor as the device has them, by a stream of its own. Blocks until they are there.
expected<std::vector<std::byte>> read_back(const device_file& file, size_t tensor);

}  // namespace longshore
