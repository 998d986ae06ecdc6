#pragma once
/// Reads fields of a JSON tree by name and keeps the first thing that is wrong and all that is odd. For the parsers of
/// configurations, and no part of what an installed library offers.
///
/// Owns its findings. One reader is one thread's. Pure.
/// Failure: a wrong value is recorded with its JSON pointer (the first one stays), and reading goes on with the
/// default, so that the code of a format is a plain list of its fields. Ask `problem` at the end.

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "cache/error.hpp"

namespace longshore {

class field_reader {
public:
  explicit field_reader(std::string path) : path_(std::move(path)) {}

  /// The value of an optional field, or `otherwise` where it is absent or wrong.
  std::string text(const nlohmann::json& object, const std::string& pointer, std::string_view field,
                   std::string otherwise = {});
  bool flag(const nlohmann::json& object, const std::string& pointer, std::string_view field, bool otherwise);

  /// The same for a number from 0 up to `most`.
  double number(const nlohmann::json& object, const std::string& pointer, std::string_view field, double otherwise,
                double most);

  /// The same for a field whose value is one of a few words.
  std::string word(const nlohmann::json& object, const std::string& pointer, std::string_view field,
                   std::span<const std::string> words);

  /// A required relative file name; the value itself is at `pointer`.
  std::string file_name(const nlohmann::json& value, const std::string& pointer);

  /// A field that must be there, or null with a problem that names the unknown field it may be hiding under.
  const nlohmann::json* required(const nlohmann::json& object, const std::string& pointer, std::string_view field,
                                 std::span<const std::string> known);

  /// Whether a value has the type that the format gives it, with a problem where it has not.
  bool is_object(const nlohmann::json& value, const std::string& pointer);
  bool is_array(const nlohmann::json& value, const std::string& pointer);

  /// Warns of each field of an object that is not a known one.
  void warn_unknown(const nlohmann::json& object, const std::string& pointer, std::span<const std::string> known);

  /// The same as a problem, for formats where an unknown field can only be a mistake.
  void refuse_unknown(const nlohmann::json& object, const std::string& pointer, std::span<const std::string> known);

  void wrong(const std::string& pointer, std::string what);
  void warn(const std::string& pointer, const std::string& what) { warnings_.push_back(pointer + ": " + what); }

  const std::optional<error>& problem() const { return problem_; }
  std::vector<std::string> take_warnings() { return std::move(warnings_); }

private:
  std::string path_;
  std::optional<error> problem_;
  std::vector<std::string> warnings_;
};

}  // namespace longshore
