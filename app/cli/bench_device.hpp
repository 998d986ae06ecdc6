#pragma once
/// The part of `longshore bench` that has to do with a device: the link's own limit, what page-locking costs, and how
/// near loads come to the slower of disk and link.
///
/// Owns the device and one allocation of memory to copy from. One thread. Failure: what device and loads say.

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "app/cli/device_arguments.hpp"
#include "io/arena.hpp"

namespace longshore {

class device_bench {
public:
  static constexpr auto link_limit = "link, from page-locked memory";
  static constexpr auto locking = "page-locking of touched memory";
  static constexpr auto cold_load = "disk to device, cold";
  static constexpr auto cold_with_copy = "disk to device, cold, by way of a pinned host copy";
  static constexpr auto hot_load = "page cache to device";
  static constexpr auto pinned_copy = "pinned host copy to device";
  static constexpr auto owned_copy = "host copy, not pinned, to device";
  static constexpr const char* lines[] = {link_limit, locking,     cold_load, cold_with_copy,
                                          hot_load,   pinned_copy, owned_copy};

  using record = std::function<void(const char* line, double seconds)>;

  static expected<device_bench> make(const device_arguments& arguments, const std::string& path);

  /// One sample of each line.
  expected<void> measure(const record& add);

  /// Whether the disk is a limit of this line beside the link.
  static bool reads_the_disk(std::string_view line) { return line == cold_load || line == cold_with_copy; }
  static bool is_load(std::string_view line) { return line != link_limit && line != locking; }

private:
  device_bench(std::string path, uint64_t bytes, arena memory);
  expected<double> time_locking();
  expected<double> time_link();
  expected<double> time_load(hold_choice first, bool host_copy);

  runtime_options options_;
  std::string path_;
  uint64_t bytes_;
  arena memory_;
};

}  // namespace longshore
