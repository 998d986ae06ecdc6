#pragma once
/// What `longshore simulate` replays: a machine, models, and steps that ask for them. Read from JSON.
///
/// Owns nothing; pure; safe from any thread. Limits: `scenario_limits`. Failure: `errc::bad_config` with the path and
/// either line, column and byte offset (text that is not JSON) or the JSON pointer of the first wrong value in `where`.
/// A field that is not known is wrong too: a budget under a mistyped name would be no budget at all.
///
/// The format stands in app/scenarios/README.md.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cache/error.hpp"
#include "cache/model_kind.hpp"
#include "io/model_source.hpp"

namespace longshore {

/// How fast bytes come or go, and what passes before the first of them.
struct simulated_rate {
  uint64_t bytes_per_s = 0;
  std::chrono::nanoseconds latency{0};
};

struct simulated_machine {
  uint64_t host_limit_bytes = 0;
  uint64_t pin_budget_bytes = 0;
  uint64_t staging_bytes = uint64_t{256} << 20;  ///< most, all streams together
  size_t streams = 1;                            ///< of the device
  uint64_t device_capacity_bytes = 0;            ///< 0: there is no device
  simulated_rate disk, link;
  uint64_t unpinned_bytes_per_s = 0;  ///< of copies from host memory that is not page-locked
  uint64_t register_bytes_per_s = 0;  ///< how fast memory is page-locked; 0: it takes no time
  uint64_t copy_bytes_per_s = 0;      ///< how fast host memory is copied to slots; 0: it takes no time
  std::chrono::nanoseconds memory_wait = std::chrono::seconds{30};  ///< a load's most
};

/// Tensors of one size, one behind the other.
struct tensor_group {
  uint64_t count = 1;
  uint64_t size_bytes = 0;
};

/// Of a layout that comes with the program, or of the tensors listed.
struct simulated_model {
  std::string name;  ///< a file's, without ending
  model_kind kind = model_kind::data;
  std::string layout;
  std::vector<tensor_group> tensors;
  double scale = 1;  ///< of each tensor's size
};

struct simulated_step {
  std::string name;
  std::string pointer;  ///< its JSON pointer, such as "/steps/0"
  size_t model = 0;
  hold_choice hold = hold_choice::owned;
  bool host_copy = false;  ///< of one for the device: it comes by way of pinned host memory, and leaves a copy there
  bool keep = false;
  bool urgent = true;
  std::optional<std::chrono::nanoseconds> at{};  ///< when it begins; nothing: once the step `after` is done
  std::optional<size_t> after{};                 ///< nothing for a first step without `at`
  std::chrono::nanoseconds use{0};  ///< how long the model is used, once it is there; then the step is done
  std::optional<size_t> until{};    ///< the lease lasts until that step is done
  std::chrono::nanoseconds deadline = std::chrono::hours{1};
};

struct scenario {
  std::string description;
  simulated_machine machine;
  std::vector<simulated_model> models;
  std::vector<simulated_step> steps;
};

struct scenario_limits {
  size_t max_json_bytes = 1 << 20;
  size_t max_models = 1000;
  size_t max_steps = 10'000;
  size_t max_streams = 64;
  uint64_t max_tensors = 1'000'000;              ///< of one model
  uint64_t max_model_bytes = uint64_t{1} << 40;  ///< without its scale
  std::chrono::hours max_time{24 * 365};         ///< of any one time given
  unsigned max_depth = 16;
};

expected<scenario> parse_scenario(std::string_view json, const std::string& path, const scenario_limits& limits = {});

/// "16 GiB", "1.5 GB", "4096 B": decimal and binary units, up to TB and TiB. Nothing for anything else.
std::optional<uint64_t> size_from_text(std::string_view text);

/// "owned", "pinned", "mapped" or "device".
const char* name(hold_choice hold);

}  // namespace longshore
