#include "app/cli/device_arguments.hpp"

#include "gpu/host_device.hpp"

namespace longshore {

void device_arguments::add_to(CLI::App& command) {
  command.add_option("--device", name, "where the weights shall end: none, or host, a device made of ordinary memory")
      ->check(CLI::IsMember({"none", "host"}));
  command.add_option("--device-capacity", capacity_bytes, "memory of the host device (default 8GiB)")
      ->transform(CLI::AsSizeValue(false));
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

void device_arguments::apply_to(runtime_options& options) const {
  if (!wanted())
    return;
  options.target = std::make_shared<host_device>(host_device_options{
      .capacity_bytes = capacity_bytes, .link_bytes_per_s = static_cast<uint64_t>(link_gb_per_s * 1e9)});
  options.staging_bytes = staging_bytes;
  options.pin_budget_bytes = pin_budget_bytes;
  options.streams = streams;
  options.device_is_shared = false;  // ordinary memory that nobody else uses
}

}  // namespace longshore
