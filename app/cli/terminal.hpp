#pragma once
/// How the program talks to a person: tables and JSON on stdout, notes and progress on stderr.
///
/// Owns nothing but the progress lines it has drawn. Progress is drawn on a terminal only, colours only without
/// NO_COLOR. Thread rule: `progress_lines` from one thread at a time; the rest from any.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "cache/error.hpp"

namespace longshore {

using json = nlohmann::ordered_json;

/// "2.13 GB": decimal units, three digits.
std::string human_bytes(uint64_t bytes);

/// A rate in GB/s with two decimals, or "-" when there is no time to divide by.
std::string human_rate(uint64_t bytes, double seconds);

/// A number with `digits` decimals.
std::string fixed(double value, int digits);

/// Text columns with a header, as wide as they need to be; numbers to the right.
class table {
public:
  explicit table(std::vector<std::string> header) : rows_{std::move(header)} {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string text() const;

private:
  std::vector<std::vector<std::string>> rows_;
};

/// One object, a newline after it. Names that are not UTF-8 are written with replacement characters.
void print_json(const json& value);

/// "longshore: error: ..." on stderr, in red where there is colour.
void print_error(const error& e);
void print_note(std::string_view text);
void print_warning(std::string_view text);

json to_json(const error& e);

/// A block of lines on stderr that is drawn anew in place, at most ten times a second.
class progress_lines {
public:
  progress_lines();
  ~progress_lines() { clear(); }
  progress_lines(const progress_lines&) = delete;
  progress_lines& operator=(const progress_lines&) = delete;

  bool enabled() const { return enabled_; }
  void draw(const std::vector<std::string>& lines);
  void clear();

private:
  bool enabled_;
  size_t drawn_ = 0;
  uint64_t last_ns_ = 0;
};

/// "[#####.....]" of the given share.
std::string bar(double share);

}  // namespace longshore
