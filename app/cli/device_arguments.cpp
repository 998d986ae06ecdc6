#include "app/cli/device_arguments.hpp"

#include <charconv>
#include <string_view>

#include "gpu/cuda_device.hpp"
#include "gpu/cuda_library.hpp"
#include "gpu/host_device.hpp"

namespace longshore {
namespace {

std::string fault_of_name(const std::string& text) {
  const bool known = text == "none" || text == "host" || cuda_index_of(text);
  return known ? "" : "'" + text + "' is not none, host, cuda or cuda:N";
}

std::shared_ptr<device> host_device_of(const device_arguments& arguments) {
  host_device_options options;
  options.capacity_bytes = arguments.capacity_bytes.value_or(uint64_t{8} << 30);
  options.ready_bytes = arguments.ready ? options.capacity_bytes : 0;
  options.link_bytes_per_s = static_cast<uint64_t>(arguments.link_gb_per_s.value_or(0) * 1e9);
  return std::make_shared<host_device>(options);
}

expected<std::shared_ptr<device>> cuda_device_of(const device_arguments& arguments) {
  if (arguments.capacity_bytes || arguments.link_gb_per_s)
    return unexpected(error{.code = errc::bad_argument,
                            .what = "--device-capacity and --link are for the host device: a GPU has its own"});
  const auto table = load_cuda_table();
  if (!table)
    return unexpected(table.error());
  auto made = make_cuda_device(**table, {.index = *cuda_index_of(arguments.name)});
  if (!made)
    return unexpected(std::move(made.error()));
  return std::shared_ptr<device>(std::move(*made));
}

}  // namespace

std::optional<int> cuda_index_of(const std::string& device_name) {
  constexpr std::string_view prefix = "cuda:";
  if (device_name == "cuda")
    return 0;
  if (!device_name.starts_with(prefix))
    return std::nullopt;
  unsigned short index = 0;
  const auto* end = device_name.data() + device_name.size();
  const auto read = std::from_chars(device_name.data() + prefix.size(), end, index);
  if (read.ec != std::errc{} || read.ptr != end)
    return std::nullopt;
  return index;
}

void device_arguments::add_to(CLI::App& command) {
  command
      .add_option("--device", name,
                  "where the weights shall end: none; host, a device made of ordinary memory; cuda or cuda:N, a GPU, "
                  "for which this machine needs NVIDIA's driver and liblongshore_cuda.so beside the program")
      ->check(fault_of_name);
  command.add_option("--device-capacity", capacity_bytes, "memory of the host device (default 8GiB)")
      ->transform(CLI::AsSizeValue(false));
  command.add_flag("--device-ready", ready,
                   "bring the host device's memory in before the first load: a real device's is there");
  command.add_option("--link", link_gb_per_s, "rate of the host device's link in GB/s (default: as fast as memory)")
      ->check(CLI::NonNegativeNumber);
  command.add_option("--staging", staging_bytes, "most memory for chunks on their way to the device (default 256MiB)")
      ->transform(CLI::AsSizeValue(false));
  command
      .add_option("--pin-budget", pin_budget_bytes,
                  "most page-locked memory (default: half of the host limit; 0: do without)")
      ->transform(CLI::AsSizeValue(false));
  command.add_option("--streams", streams, "copies to the device go in so many streams; files take them in turn")
      ->check(CLI::Range(1U, 64U));
}

expected<void> device_arguments::apply_to(runtime_options& options) const {
  if (!wanted())
    return {};
  if (name == "host") {
    options.target = host_device_of(*this);
  } else {
    auto made = cuda_device_of(*this);
    if (!made)
      return unexpected(std::move(made.error()));
    options.target = std::move(*made);
  }
  options.staging_bytes = staging_bytes;
  options.pin_budget_bytes = pin_budget_bytes;
  options.streams = streams;
  options.device_is_shared = name != "host";  // which is ordinary memory that nobody else uses
  return {};
}

}  // namespace longshore
