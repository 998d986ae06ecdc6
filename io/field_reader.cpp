#include "io/field_reader.hpp"

#include <algorithm>

#include "cache/nearest.hpp"
#include "io/json_events.hpp"
#include "io/relative_name.hpp"

namespace longshore {
namespace {

using nlohmann::json;

std::string found(const json& value) {
  if (value.is_boolean())
    return ", found a boolean";
  return std::string(", found ") +
         (value.is_object() || value.is_array() ? "an "
          : value.is_null()                     ? ""
                                                : "a ") +
         value.type_name();
}

const json* find(const json& object, std::string_view field) {
  const auto at = object.find(std::string(field));
  return at == object.end() ? nullptr : &*at;
}

}  // namespace

void field_reader::wrong(const std::string& pointer, std::string what) {
  if (!problem_)
    problem_ = error{.code = errc::bad_config, .what = std::move(what), .path = path_, .where = pointer};
}

std::string field_reader::text(const json& object, const std::string& pointer, std::string_view field,
                               std::string otherwise) {
  const auto* value = find(object, field);
  if (value == nullptr)
    return otherwise;
  if (value->is_string())
    return value->get<std::string>();
  wrong(pointer + pointer_step(field), "expected a string" + found(*value));
  return otherwise;
}

bool field_reader::flag(const json& object, const std::string& pointer, std::string_view field, bool otherwise) {
  const auto* value = find(object, field);
  if (value == nullptr)
    return otherwise;
  if (value->is_boolean())
    return value->get<bool>();
  wrong(pointer + pointer_step(field), "expected true or false" + found(*value));
  return otherwise;
}

double field_reader::number(const json& object, const std::string& pointer, std::string_view field, double otherwise,
                            double most) {
  const auto* value = find(object, field);
  if (value == nullptr)
    return otherwise;
  if (!value->is_number()) {
    wrong(pointer + pointer_step(field), "expected a number" + found(*value));
    return otherwise;
  }
  const auto given = value->get<double>();
  if (given >= 0 && given <= most)
    return given;
  wrong(pointer + pointer_step(field), "expected a number from 0 to " + json(most).dump() + ", found " + value->dump());
  return otherwise;
}

std::string field_reader::word(const json& object, const std::string& pointer, std::string_view field,
                               std::span<const std::string> words) {
  auto value = text(object, pointer, field, words.front());
  if (std::find(words.begin(), words.end(), value) != words.end())
    return value;
  std::string list;
  for (const auto& word : words)
    list += (list.empty() ? "" : ", ") + word;
  wrong(pointer + pointer_step(field), "expected one of " + list + "; found \"" + value + '"');
  return words.front();
}

std::string field_reader::file_name(const json& value, const std::string& pointer) {
  if (!value.is_string()) {
    wrong(pointer, "expected a file name" + found(value));
    return {};
  }
  auto name = value.get<std::string>();
  if (const auto flaw = relative_name_flaw(name); !flaw.empty())
    wrong(pointer, "a file name " + std::string(flaw) + "; it is looked up in the model folders");
  return name;
}

const json* field_reader::required(const json& object, const std::string& pointer, std::string_view field,
                                   std::span<const std::string> known) {
  if (const auto* value = find(object, field))
    return value;
  std::vector<std::string> unknown;
  for (const auto& [name, value] : object.items())
    if (std::find(known.begin(), known.end(), name) == known.end())
      unknown.push_back(name);
  const auto near = nearest(field, unknown, {.max_results = 1});
  wrong(pointer + pointer_step(field),
        "the required field is missing" +
            (near.empty() ? std::string() : "; is it what \"" + near.front() + "\" means?"));
  return nullptr;
}

bool field_reader::is_object(const json& value, const std::string& pointer) {
  if (!value.is_object())
    wrong(pointer, "expected an object" + found(value));
  return value.is_object();
}

bool field_reader::is_array(const json& value, const std::string& pointer) {
  if (!value.is_array())
    wrong(pointer, "expected an array" + found(value));
  return value.is_array();
}

void field_reader::warn_unknown(const json& object, const std::string& pointer, std::span<const std::string> known) {
  for (const auto& [name, value] : object.items())
    if (std::find(known.begin(), known.end(), name) == known.end())
      warn(pointer + pointer_step(name), "unknown field, ignored" + did_you_mean(name, known, {.max_results = 1}));
}

void field_reader::refuse_unknown(const json& object, const std::string& pointer, std::span<const std::string> known) {
  for (const auto& [name, value] : object.items())
    if (std::find(known.begin(), known.end(), name) == known.end())
      wrong(pointer + pointer_step(name), "unknown field" + did_you_mean(name, known, {.max_results = 1}));
}

}  // namespace longshore
