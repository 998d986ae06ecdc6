#include "gpu/find_device.hpp"

#include <charconv>
#include <string_view>

#include "gpu/cuda_device.hpp"
#include "gpu/cuda_library.hpp"

namespace longshore {

std::optional<int> cuda_index_of(const std::string& name) {
  constexpr std::string_view prefix = "cuda:";
  if (name == "cuda")
    return 0;
  if (!name.starts_with(prefix))
    return std::nullopt;
  unsigned short index = 0;
  const auto* end = name.data() + name.size();
  const auto read = std::from_chars(name.data() + prefix.size(), end, index);
  if (read.ec != std::errc{} || read.ptr != end)
    return std::nullopt;
  return index;
}

expected<std::shared_ptr<device>> find_device(const std::string& name, const host_device_options& of_host) {
  if (name == "host")
    return std::make_shared<host_device>(of_host);
  const auto index = cuda_index_of(name);
  if (!index)
    return unexpected(error{.code = errc::bad_argument,
                            .what = "there is no device '" + name + "'; the names are host, cuda and cuda:N"});
  const auto table = load_cuda_table();
  if (!table)
    return unexpected(table.error());
  auto made = make_cuda_device(**table, {.index = *index});
  if (!made)
    return unexpected(std::move(made.error()));
  return std::shared_ptr<device>(std::move(*made));
}

}  // namespace longshore
