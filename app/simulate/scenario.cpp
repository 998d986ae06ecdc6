#include "app/simulate/scenario.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <utility>

#include "io/field_reader.hpp"
#include "io/json_document.hpp"
#include "io/json_events.hpp"

namespace longshore {
namespace {

using nlohmann::json;
using names = std::vector<std::string>;
using std::chrono::nanoseconds;

constexpr double giga = 1e9;
constexpr double max_gb_per_s = 1e6;

nanoseconds seconds_of(double seconds) { return nanoseconds{std::llround(seconds * 1e9)}; }

const names& hold_words() {
  static const names list{"owned", "pinned", "mapped", "device"};
  return list;
}

const names& kind_words() {
  static const names list = [] {
    names words{std::string(name(model_kind::data))};
    for (const auto kind : all_model_kinds)
      if (kind != model_kind::data)
        words.emplace_back(name(kind));
    return words;
  }();
  return list;
}

hold_choice hold_from_word(std::string_view word) {
  for (const auto hold : {hold_choice::pinned, hold_choice::mapped, hold_choice::device})
    if (word == name(hold))
      return hold;
  return hold_choice::owned;
}

class scenario_reader {
public:
  scenario_reader(const std::string& path, const scenario_limits& limits) : fields_(path), limits_(limits) {}

  expected<scenario> read(const json& root) {
    static const names known{"description", "machine", "models", "steps"};
    if (fields_.is_object(root, "")) {
      fields_.refuse_unknown(root, "", known);
      result_.description = fields_.text(root, "", "description");
      if (const auto* machine = fields_.required(root, "", "machine", known))
        read_machine(*machine);
      if (const auto* models = fields_.required(root, "", "models", known))
        read_list(*models, "/models", limits_.max_models, &scenario_reader::read_model);
      if (const auto* steps = fields_.required(root, "", "steps", known))
        read_list(*steps, "/steps", limits_.max_steps, &scenario_reader::read_step);
    }
    if (!fields_.problem())
      resolve_ends();
    if (fields_.problem())
      return unexpected(*fields_.problem());
    return std::move(result_);
  }

private:
  void read_list(const json& list, const std::string& pointer, size_t most,
                 void (scenario_reader::*read_one)(const json&, const std::string&)) {
    if (!fields_.is_array(list, pointer))
      return;
    if (list.empty() || list.size() > most)
      return fields_.wrong(pointer,
                           "expected 1 to " + std::to_string(most) + " items, found " + std::to_string(list.size()));
    for (size_t i = 0; i < list.size(); ++i) {
      const auto place = pointer + "/" + std::to_string(i);
      if (fields_.is_object(list[i], place))
        (this->*read_one)(list[i], place);
    }
  }

  void read_machine(const json& object) {
    static const names known{"host_limit", "pin_budget", "staging",           "streams",       "device_capacity",
                             "disk",       "link",       "register_gb_per_s", "copy_gb_per_s", "memory_wait_s"};
    const std::string place = "/machine";
    if (!fields_.is_object(object, place))
      return;
    fields_.refuse_unknown(object, place, known);
    auto& machine = result_.machine;
    if (fields_.required(object, place, "host_limit", known) != nullptr)
      machine.host_limit_bytes = size(object, place, "host_limit", 0);
    machine.device_capacity_bytes = size(object, place, "device_capacity", 0);
    machine.staging_bytes = size(object, place, "staging", machine.staging_bytes);
    machine.pin_budget_bytes = size(object, place, "pin_budget", machine.host_limit_bytes / 2);
    machine.streams = count(object, place, "streams", limits_.max_streams);
    if (const auto* disk = fields_.required(object, place, "disk", known))
      read_disk(*disk);
    if (machine.device_capacity_bytes > 0) {
      if (const auto* link = fields_.required(object, place, "link", known))
        read_link(*link);
    } else if (object.contains("link")) {
      fields_.wrong("/machine/link", "a link without a device; \"device_capacity\" is missing");
    }
    machine.register_bytes_per_s = rate(object, place, "register_gb_per_s", 0);
    machine.copy_bytes_per_s = rate(object, place, "copy_gb_per_s", 0);
    machine.memory_wait = time(object, place, "memory_wait_s", machine.memory_wait);
  }

  void read_disk(const json& object) {
    static const names known{"gb_per_s", "latency_us"};
    if (fields_.is_object(object, "/machine/disk"))
      result_.machine.disk = read_rate(object, "/machine/disk", known);
  }

  void read_link(const json& object) {
    static const names known{"gb_per_s", "latency_us", "unpinned_gb_per_s"};
    const std::string place = "/machine/link";
    if (!fields_.is_object(object, place))
      return;
    auto& machine = result_.machine;
    machine.link = read_rate(object, place, known);
    machine.unpinned_bytes_per_s = rate(object, place, "unpinned_gb_per_s", machine.link.bytes_per_s);
  }

  simulated_rate read_rate(const json& object, const std::string& pointer, const names& known) {
    fields_.refuse_unknown(object, pointer, known);
    simulated_rate read;
    if (fields_.required(object, pointer, "gb_per_s", known) != nullptr)
      read.bytes_per_s = rate(object, pointer, "gb_per_s", 0);
    constexpr double max_latency_us = 1e9;
    read.latency = seconds_of(1e-6 * fields_.number(object, pointer, "latency_us", 0, max_latency_us));
    return read;
  }

  void read_model(const json& object, const std::string& pointer) {
    static const names known{"name", "kind", "layout", "tensors", "scale"};
    constexpr double max_scale = 1e6;
    fields_.refuse_unknown(object, pointer, known);
    simulated_model model;
    if (fields_.required(object, pointer, "name", known) != nullptr)
      model.name = fields_.text(object, pointer, "name");
    check_name(model.name, pointer + "/name");
    model.kind = *model_kind_from_name(fields_.word(object, pointer, "kind", kind_words()));
    model.layout = fields_.text(object, pointer, "layout");
    if (const auto tensors = object.find("tensors"); tensors != object.end())
      model.tensors = read_tensors(*tensors, pointer + "/tensors");
    if (model.layout.empty() == model.tensors.empty())
      fields_.wrong(pointer, "a model has either a \"layout\" or a list of \"tensors\"");
    model.scale = fields_.number(object, pointer, "scale", 1, max_scale);
    result_.models.push_back(std::move(model));
  }

  /// It becomes the name of a file, and so what error messages call the model.
  void check_name(const std::string& model, const std::string& pointer) {
    constexpr size_t max_name_bytes = 100;
    if (model.empty() || model.size() > max_name_bytes || model.front() == '.' ||
        model.find_first_of(std::string_view{"/\0", 2}) != std::string::npos)
      return fields_.wrong(pointer, "expected a name of 1 to " + std::to_string(max_name_bytes) +
                                        " bytes, without a slash and no dot in front");
    if (std::ranges::find(result_.models, model, &simulated_model::name) != result_.models.end())
      fields_.wrong(pointer, "another model is called \"" + model + "\" too");
  }

  std::vector<tensor_group> read_tensors(const json& list, const std::string& pointer) {
    static const names known{"count", "bytes"};
    std::vector<tensor_group> groups;
    if (!fields_.is_array(list, pointer))
      return groups;
    uint64_t tensors = 0, total_bytes = 0;
    for (size_t i = 0; i < list.size(); ++i) {
      const auto place = pointer + "/" + std::to_string(i);
      if (!fields_.is_object(list[i], place))
        continue;
      fields_.refuse_unknown(list[i], place, known);
      tensor_group group{.count = count(list[i], place, "count", limits_.max_tensors)};
      if (fields_.required(list[i], place, "bytes", known) != nullptr)
        group.size_bytes = size(list[i], place, "bytes", 0);
      tensors += group.count;
      total_bytes += group.count * group.size_bytes;
      groups.push_back(group);
      if (tensors > limits_.max_tensors || group.size_bytes > limits_.max_model_bytes ||
          total_bytes > limits_.max_model_bytes)
        fields_.wrong(place, "more than " + std::to_string(limits_.max_tensors) + " tensors or " +
                                 std::to_string(limits_.max_model_bytes) + " bytes up to here");
    }
    return groups;
  }

  /// A whole number from 1 on; 1 where there is none.
  uint64_t count(const json& object, const std::string& pointer, const char* field, uint64_t most) {
    const auto value = object.find(field);
    if (value == object.end())
      return 1;
    if (value->is_number_unsigned() && value->get<uint64_t>() >= 1 && value->get<uint64_t>() <= most)
      return value->get<uint64_t>();
    fields_.wrong(pointer + pointer_step(field),
                  "expected a whole number from 1 to " + std::to_string(most) + ", found " + value->dump());
    return 1;
  }

  void read_step(const json& object, const std::string& pointer) {
    static const names known{"load", "name",  "hold",  "host_copy", "keep",      "urgent",
                             "at_s", "after", "use_s", "until",     "deadline_s"};
    fields_.refuse_unknown(object, pointer, known);
    simulated_step step;
    step.pointer = pointer;
    if (fields_.required(object, pointer, "load", known) != nullptr)
      step.model = model_named(fields_.text(object, pointer, "load"), pointer + "/load");
    step.hold = hold_from_word(fields_.word(object, pointer, "hold", hold_words()));
    if (step.hold == hold_choice::device && result_.machine.device_capacity_bytes == 0)
      fields_.wrong(pointer + "/hold", "the machine has no device; it has one with a \"device_capacity\"");
    step.host_copy = fields_.flag(object, pointer, "host_copy", false);
    if (step.host_copy && step.hold != hold_choice::device)
      fields_.wrong(pointer + "/host_copy", "only what goes to the device leaves a host copy");
    step.keep = fields_.flag(object, pointer, "keep", false);
    step.urgent = fields_.flag(object, pointer, "urgent", true);
    step.use = time(object, pointer, "use_s", step.use);
    step.deadline = time(object, pointer, "deadline_s", step.deadline);
    read_begin(object, pointer, step);
    const std::string model = step.model < result_.models.size() ? result_.models[step.model].name : "";
    step.name = fields_.text(object, pointer, "name", model);
    by_name_[step.name].push_back(result_.steps.size());
    until_.push_back(fields_.text(object, pointer, "until"));
    result_.steps.push_back(std::move(step));
  }

  /// At a time, after a step that is named, or, without a word of it, after the one before.
  void read_begin(const json& object, const std::string& pointer, simulated_step& step) {
    if (object.contains("at_s") && object.contains("after"))
      fields_.wrong(pointer + "/after", "a step begins at a time or after another step, not both");
    if (object.contains("at_s"))
      step.at = time(object, pointer, "at_s", {});
    else if (object.contains("after"))
      step.after = step_named(fields_.text(object, pointer, "after"), pointer + "/after");
    else if (!result_.steps.empty())
      step.after = result_.steps.size() - 1;
  }

  size_t model_named(const std::string& wanted, const std::string& pointer) {
    const auto found = std::ranges::find(result_.models, wanted, &simulated_model::name);
    if (found == result_.models.end())
      fields_.wrong(pointer, "no model is called \"" + wanted + '"');
    return static_cast<size_t>(found - result_.models.begin());
  }

  std::optional<size_t> step_named(const std::string& wanted, const std::string& pointer) {
    const auto found = by_name_.find(wanted);
    if (found != by_name_.end() && found->second.size() == 1)
      return found->second.front();
    fields_.wrong(pointer, found == by_name_.end()
                               ? "no step up to here is called \"" + wanted + '"'
                               : "several steps are called \"" + wanted + "\"; give the one that is meant a \"name\"");
    return {};
  }

  /// Only now are all steps known. One that ends with an earlier step would have ended before it began.
  void resolve_ends() {
    for (size_t i = 0; i < until_.size(); ++i) {
      if (until_[i].empty())
        continue;
      const auto pointer = result_.steps[i].pointer + "/until";
      result_.steps[i].until = step_named(until_[i], pointer);
      if (result_.steps[i].until && *result_.steps[i].until <= i)
        fields_.wrong(pointer, "expected the name of a later step");
    }
  }

  uint64_t size(const json& object, const std::string& pointer, std::string_view field, uint64_t otherwise) {
    const auto value = object.find(std::string(field));
    if (value == object.end())
      return otherwise;
    if (value->is_number_unsigned())
      return value->get<uint64_t>();
    const auto read = value->is_string() ? size_from_text(value->get_ref<const std::string&>()) : std::nullopt;
    if (!read)
      fields_.wrong(pointer + pointer_step(field),
                    "expected a number of bytes or a size such as \"16 GiB\", found " + value->dump());
    return read.value_or(otherwise);
  }

  uint64_t rate(const json& object, const std::string& pointer, std::string_view field, uint64_t otherwise) {
    if (!object.contains(std::string(field)))
      return otherwise;
    const auto bytes_per_s = std::llround(giga * fields_.number(object, pointer, field, 1, max_gb_per_s));
    if (bytes_per_s == 0)
      fields_.wrong(pointer + pointer_step(field), "a rate of 0 moves nothing");
    return static_cast<uint64_t>(bytes_per_s);
  }

  nanoseconds time(const json& object, const std::string& pointer, std::string_view field, nanoseconds otherwise) {
    if (!object.contains(std::string(field)))
      return otherwise;
    const auto most_s = static_cast<double>(std::chrono::seconds{limits_.max_time}.count());
    return seconds_of(fields_.number(object, pointer, field, 0, most_s));
  }

  field_reader fields_;
  const scenario_limits& limits_;
  scenario result_;
  std::map<std::string, std::vector<size_t>> by_name_;
  names until_;  // of each step, by name
};

}  // namespace

const char* name(hold_choice hold) {
  switch (hold) {
    case hold_choice::automatic:
      return "auto";
    case hold_choice::owned:
      return "owned";
    case hold_choice::pinned:
      return "pinned";
    case hold_choice::mapped:
      return "mapped";
    case hold_choice::device:
      return "device";
  }
  return "unknown";
}

std::optional<uint64_t> size_from_text(std::string_view text) {
  static const std::map<std::string_view, double> units{
      {"B", 1},     {"kB", 1e3},   {"KB", 1e3},      {"MB", 1e6},         {"GB", 1e9},
      {"TB", 1e12}, {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}, {"TiB", 1099511627776},
  };
  constexpr double most_bytes = 9007199254740992;  // doubles are exact up to here
  const auto digits = std::min(text.find_first_not_of("0123456789."), text.size());
  const auto blanks = std::min(text.find_first_not_of(' ', digits), text.size());
  const auto unit = units.find(text.substr(blanks));
  const auto number = std::string(text.substr(0, digits));
  char* end = nullptr;
  const auto value = std::strtod(number.c_str(), &end);
  if (number.empty() || end != number.c_str() + number.size() || unit == units.end() ||
      value * unit->second > most_bytes)
    return std::nullopt;
  return static_cast<uint64_t>(std::llround(value * unit->second));
}

expected<scenario> parse_scenario(std::string_view json_text, const std::string& path, const scenario_limits& limits) {
  if (json_text.size() > limits.max_json_bytes)
    return unexpected(error{.code = errc::bad_config,
                            .what = "the scenario has " + std::to_string(json_text.size()) + " bytes, more than the " +
                                    std::to_string(limits.max_json_bytes) + " allowed",
                            .path = path});
  const auto root =
      read_document({.text = json_text, .path = path, .code = errc::bad_config, .max_depth = limits.max_depth});
  if (!root)
    return unexpected(root.error());
  return scenario_reader(path, limits).read(*root);
}

}  // namespace longshore
