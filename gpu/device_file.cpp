#include "gpu/device_file.hpp"

#include <future>
#include <utility>

namespace longshore {
expected<void> wait_for(device& target, stream_id stream) {
  auto over = std::make_shared<std::promise<expected<void>>>();
  auto result = over->get_future();
  auto queued = target.when_over(stream, [over](const expected<void>& ran) { over->set_value(ran); });
  return queued ? result.get() : queued;
}

bool let_end(device& target, stream_id stream) {
  auto over = std::make_shared<std::promise<void>>();
  const auto queued = target.when_over(stream, [over](const expected<void>&) { over->set_value(); });
  if (queued)
    over->get_future().wait();
  return queued.has_value();
}

expected<std::shared_ptr<const device_file>> device_file::allocate(std::shared_ptr<device> target,
                                                                   const std::string& path,
                                                                   const safetensors_header& header,
                                                                   const cast_rule& rule) {
  std::shared_ptr<device_file> made{new device_file(std::move(target), path, header, rule)};
  if (made->layout_.total_bytes() > 0) {
    const auto address = made->target_->allocate(made->layout_.total_bytes());
    if (!address) {
      auto reason = address.error();
      reason.path = path;
      return unexpected(std::move(reason));
    }
    made->address_ = *address;
  }
  return made;
}

device_file::~device_file() {
  if (address_ != 0)
    target_->free(address_);
}

expected<std::vector<std::byte>> read_back(const device_file& file, size_t tensor) {
  std::vector<std::byte> bytes(file.tensors()[tensor].size_bytes());
  if (bytes.empty())
    return bytes;
  auto& target = file.target();
  const auto stream = target.make_stream();
  if (!stream)
    return unexpected(stream.error());
  auto copied = target.copy_to_host(*stream, file.address_of(tensor), bytes.data(), bytes.size());
  if (copied)
    copied = wait_for(target, *stream);
  target.destroy_stream(*stream);
  if (!copied)
    return unexpected(copied.error());
  return bytes;
}

}  // namespace longshore
