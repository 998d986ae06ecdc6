#pragma once
/// A stream of JSON events for the parsers of this folder. Internal to io/.
///
/// Owns the first error; the text stays the caller's. One parser is one thread's.
/// Limits: objects and arrays nest at most `max_depth` deep; what a parser keeps is its own matter.
/// Failure: the first error stops the parse. It carries the source's code and path, the byte offset in the file where
/// reading stopped (at a broken token, or just behind a value of the wrong kind), and the `where` that the parser gave.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cache/error.hpp"
#include "io/json_scanner.hpp"

namespace longshore {

/// JSON text and where it comes from.
struct json_source {
  std::string_view text;
  const std::string& path;
  uint64_t begin_bytes = 0;  ///< of the text in its file
  errc code = errc::bad_format;
  unsigned max_depth = 127;
};

/// The name as one step of a JSON pointer, slash and escapes included: `a/b` gives `/a~1b`.
std::string pointer_step(std::string_view name);

/// A sentence about broken JSON: line and column, what is wrong, and the character found there.
std::string syntax_message(std::string_view problem, std::string_view text, size_t offset);

/// Base of a parser. `Reader` supplies `bool scalar(const json_scalar&)`, `bool open(json_kind)`, `bool close()` and
/// `bool field(std::string_view)`; each answers false after `fail` and true otherwise.
template <class Reader>
class json_events {
public:
  explicit json_events(const json_source& source) : source_(source), scanner_(source.text) {}

  expected<void> run() {
    auto good = value();
    while (good && !containers_.empty())
      good = containers_.back() == json_kind::object ? next_field() : next_item();
    if (good && !scanner_.at_end())
      good = syntax("expected nothing behind the value");
    if (!good)
      return unexpected(std::move(error_));
    return {};
  }

protected:
  bool fail(std::string what, std::string where = {}) {
    error_ = {.code = source_.code,
              .what = std::move(what),
              .path = source_.path,
              .offset_bytes = offset_bytes(),
              .where = std::move(where)};
    return false;
  }

  uint64_t offset_bytes() const { return source_.begin_bytes + scanner_.offset(); }

  ~json_events() = default;

private:
  Reader& self() { return static_cast<Reader&>(*this); }

  bool syntax(std::string_view problem) { return fail(syntax_message(problem, source_.text, scanner_.offset())); }

  bool value() {
    if (scanner_.take('{'))
      return enter(json_kind::object);
    if (scanner_.take('['))
      return enter(json_kind::array);
    const auto scalar = scanner_.scalar();
    return scalar ? self().scalar(*scalar) : syntax(scanner_.problem());
  }

  bool next_field() {
    if (scanner_.take('}'))
      return leave();
    if (!std::exchange(just_opened_, false) && !scanner_.take(','))
      return syntax("expected a comma or a closing brace");
    if (scanner_.peek() != '"')
      return syntax("expected a field name in quotes");
    const auto name = scanner_.string();
    if (!name)
      return syntax(scanner_.problem());
    if (!self().field(*name))
      return false;
    return scanner_.take(':') ? value() : syntax("expected a colon");
  }

  bool next_item() {
    if (scanner_.take(']'))
      return leave();
    if (!std::exchange(just_opened_, false) && !scanner_.take(','))
      return syntax("expected a comma or a closing bracket");
    return value();
  }

  bool enter(json_kind kind) {
    if (containers_.size() == source_.max_depth)
      return fail("objects and arrays nest more than " + std::to_string(source_.max_depth) + " deep");
    containers_.push_back(kind);
    just_opened_ = true;
    return self().open(kind);
  }

  bool leave() {
    containers_.pop_back();
    just_opened_ = false;
    return self().close();
  }

  const json_source source_;
  json_scanner scanner_;
  std::vector<json_kind> containers_;  // open ones, the outermost first
  bool just_opened_ = false;
  error error_;
};

}  // namespace longshore
