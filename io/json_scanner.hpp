#pragma once
/// JSON tokens (RFC 8259) out of a text in memory. Internal to io/; `json_events` puts them together.
///
/// Why not the JSON library's own reader: on the header of 20,000 tensors it alone takes over twice the time of all
/// that is done here with them, it does not say where in the text it stands, and it takes a byte order mark and a raw
/// NUL. A test compares the two on random texts.
///
/// Owns a buffer for the string read last; the text stays the caller's. One scanner is one thread's.
/// Strict: no byte order mark, no raw NUL or other control character, UTF-8 and surrogates checked, numbers in range.
/// Failure: a token function answers nothing; `problem` says why and `offset` where.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace longshore {

/// What may stand where a value may stand, as far as any of the formats tells them apart.
enum class json_kind : uint8_t { null, boolean, whole_number, other_number, text, object, array };

/// For messages: "null", "a whole number", ...
std::string_view name(json_kind kind);

struct json_scalar {
  json_kind kind = json_kind::null;
  uint64_t whole = 0;  ///< of a whole number that fits 64 bits; 1 for true
  double real = 0;     ///< of any other number: negative ("-0" too), with point or exponent, or past 64 bits
  std::string_view text{};
};

class json_scanner {
public:
  explicit json_scanner(std::string_view text) : text_(text) {}

  /// The next character that is not blank; NUL at the end (or where one stands, which no token begins with).
  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t'))
      ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  /// Steps over `wanted` (not NUL) where it is next.
  bool take(char wanted) {
    if (peek() != wanted)
      return false;
    ++at_;
    return true;
  }

  bool at_end() {
    peek();
    return at_ == text_.size();
  }

  /// The string that begins here, decoded. The view holds until the next string.
  std::optional<std::string_view> string();

  /// The string, number, true, false or null that begins here.
  std::optional<json_scalar> scalar();

  size_t offset() const { return at_; }
  std::string_view text() const { return text_; }
  const char* problem() const { return problem_; }

private:
  bool wrong(const char* problem) {
    problem_ = problem;
    return false;
  }
  bool decode_rest();
  bool decode_escape();
  bool decode_unicode();
  bool skip_utf8();
  std::optional<unsigned> four_hex_digits();
  std::optional<json_scalar> number();
  bool skip_digits();

  std::string_view text_;
  size_t at_ = 0;
  std::string decoded_;
  const char* problem_ = "";
};

}  // namespace longshore
