#include "app/cli/device_arguments.hpp"

#include "gpu/find_device.hpp"

namespace longshore {
namespace {

std::string fault_of_name(const std::string& text) {
  const bool known = text == "none" || text == "host" || cuda_index_of(text);
  return known ? "" : "'" + text + "' is not none, host, cuda or cuda:N";
}

host_device_options host_options_of(const device_arguments& arguments) {
  host_device_options options;
  options.capacity_bytes = arguments.capacity_bytes.value_or(uint64_t{8} << 30);
  options.ready_bytes = arguments.ready ? options.capacity_bytes : 0;
  options.link_bytes_per_s = static_cast<uint64_t>(arguments.link_gb_per_s.value_or(0) * 1e9);
  return options;
}

}  // namespace

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
  if (name != "host" && (capacity_bytes || link_gb_per_s))
    return unexpected(error{.code = errc::bad_argument,
                            .what = "--device-capacity and --link are for the host device: a GPU has its own"});
  auto made = find_device(name, host_options_of(*this));
  if (!made)
    return unexpected(std::move(made.error()));
  options.target = std::move(*made);
  options.staging_bytes = staging_bytes;
  options.pin_budget_bytes = pin_budget_bytes;
  options.streams = streams;
  options.device_is_shared = name != "host";  // which is ordinary memory that nobody else uses
  return {};
}

}  // namespace longshore
