#include "io/json_scanner.hpp"

#include <charconv>

namespace longshore {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// What a string may hold as it stands, one byte a character.
bool is_plain(char c) { return c >= ' ' && c != '"' && c != '\\' && static_cast<unsigned char>(c) < 0x80; }

void append_utf8(std::string& to, unsigned code) {
  const auto tail = [&](unsigned shift) { to += static_cast<char>(0x80 | (code >> shift & 0x3F)); };
  if (code < 0x80) {
    to += static_cast<char>(code);
  } else if (code < 0x800) {
    to += static_cast<char>(0xC0 | code >> 6);
    tail(0);
  } else if (code < 0x10000) {
    to += static_cast<char>(0xE0 | code >> 12);
    tail(6);
    tail(0);
  } else {
    to += static_cast<char>(0xF0 | code >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

/// Bytes of the UTF-8 character at the front, by table 3-7 of the Unicode standard; 0 where it is not one.
size_t utf8_bytes(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto within = [&](size_t i, unsigned low, unsigned high) { return byte(i) >= low && byte(i) <= high; };
  const auto tail = [&](size_t i) { return within(i, 0x80, 0xBF); };
  const auto lead = byte(0);
  if (lead >= 0xC2 && lead <= 0xDF)
    return tail(1) ? 2 : 0;
  if (lead >= 0xE0 && lead <= 0xEF)  // no overlong forms, no surrogates
    return within(1, lead == 0xE0 ? 0xA0 : 0x80, lead == 0xED ? 0x9F : 0xBF) && tail(2) ? 3 : 0;
  if (lead >= 0xF0 && lead <= 0xF4)  // nothing past U+10FFFF
    return within(1, lead == 0xF0 ? 0x90 : 0x80, lead == 0xF4 ? 0x8F : 0xBF) && tail(2) && tail(3) ? 4 : 0;
  return 0;
}

}  // namespace

std::string_view name(json_kind kind) {
  switch (kind) {
    case json_kind::null:
      return "null";
    case json_kind::boolean:
      return "a boolean";
    case json_kind::whole_number:
      return "a whole number";
    case json_kind::other_number:
      return "a number that is negative, fractional or past 64 bits";
    case json_kind::text:
      return "a string";
    case json_kind::object:
      return "an object";
    case json_kind::array:
      return "an array";
  }
  return "unknown";
}

std::optional<std::string_view> json_scanner::string() {
  const auto begin = ++at_;
  while (at_ < text_.size() && is_plain(text_[at_]))
    ++at_;
  if (at_ < text_.size() && text_[at_] == '"')  // nothing to decode: the text itself is the string
    return text_.substr(begin, at_++ - begin);
  decoded_.assign(text_.substr(begin, at_ - begin));
  if (!decode_rest())
    return std::nullopt;
  return decoded_;
}

bool json_scanner::decode_rest() {
  while (at_ < text_.size()) {
    const auto c = text_[at_];
    const auto begin = at_;
    if (c == '"') {
      ++at_;
      return true;
    }
    if (c == '\\') {
      if (!decode_escape())
        return false;
      continue;
    }
    if (is_plain(c))
      ++at_;
    else if (!skip_utf8())
      return false;
    decoded_.append(text_, begin, at_ - begin);
  }
  return wrong("the text ends within a string");
}

bool json_scanner::skip_utf8() {
  const auto c = static_cast<unsigned char>(text_[at_]);
  if (c < ' ')
    return wrong("a string holds a raw control character; write it as \\u and four digits");
  const auto bytes = utf8_bytes(text_.substr(at_));
  at_ += bytes;
  return bytes > 0 || wrong("a string holds bytes that are not UTF-8");
}

bool json_scanner::decode_escape() {
  constexpr std::string_view escapes = "\"\\/bfnrt";
  constexpr std::string_view meanings = "\"\\/\b\f\n\r\t";
  ++at_;
  if (at_ == text_.size())
    return wrong("the text ends within a string");
  if (text_[at_] == 'u')
    return decode_unicode();
  const auto found = escapes.find(text_[at_]);
  if (found == std::string_view::npos)
    return wrong("a backslash in a string is followed by none of \" \\ / b f n r t u");
  decoded_ += meanings[found];
  ++at_;
  return true;
}

bool json_scanner::decode_unicode() {
  auto code = four_hex_digits();
  if (!code)
    return wrong("\\u is not followed by four hexadecimal digits");
  if (*code >= 0xDC00 && *code <= 0xDFFF)
    return wrong("a string holds the second half of a surrogate pair without the first");
  if (*code >= 0xD800 && *code <= 0xDBFF) {
    const auto pair = text_.substr(at_, 2) == "\\u";
    at_ += pair ? 1 : 0;
    const auto low = pair ? four_hex_digits() : std::nullopt;
    if (!low || *low < 0xDC00 || *low > 0xDFFF)
      return wrong("a string holds the first half of a surrogate pair without the second");
    code = 0x10000 + ((*code - 0xD800) << 10) + (*low - 0xDC00);
  }
  append_utf8(decoded_, *code);
  return true;
}

/// From the `u` of an escape to behind its digits.
std::optional<unsigned> json_scanner::four_hex_digits() {
  const auto digits = text_.substr(at_ + 1, 4);
  unsigned value = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (digits.size() != 4 || result.ptr != digits.data() + digits.size())
    return std::nullopt;
  at_ += 5;
  return value;
}

std::optional<json_scalar> json_scanner::scalar() {
  const auto first = peek();
  if (first == '"') {
    const auto text = string();
    return text ? std::optional(json_scalar{.kind = json_kind::text, .text = *text}) : std::nullopt;
  }
  if (first == '-' || is_digit(first))
    return number();
  const auto word = [&](std::string_view wanted) {
    const auto found = text_.substr(at_).starts_with(wanted);
    at_ += found ? wanted.size() : 0;
    return found;
  };
  if (word("true"))
    return json_scalar{.kind = json_kind::boolean, .whole = 1};
  if (word("false"))
    return json_scalar{.kind = json_kind::boolean};
  if (word("null"))
    return json_scalar{};
  problem_ = at_ == text_.size() ? "the text ends where a value should stand" : "expected a value";
  return std::nullopt;
}

bool json_scanner::skip_digits() {
  const auto begin = at_;
  while (at_ < text_.size() && is_digit(text_[at_]))
    ++at_;
  return at_ > begin || wrong("a number lacks a digit here");
}

std::optional<json_scalar> json_scanner::number() {
  const auto begin = at_;
  const auto next_is = [&](std::string_view any) {
    return at_ < text_.size() && any.find(text_[at_]) != std::string_view::npos;
  };
  auto whole = !next_is("-");
  at_ += whole ? 0 : 1;
  const auto leading_zero = next_is("0");
  if (!skip_digits())
    return std::nullopt;
  if (leading_zero && at_ > begin + (whole ? 1 : 2)) {
    problem_ = "a number has leading zeros";
    return std::nullopt;
  }
  if (next_is(".")) {
    whole = false;
    ++at_;
    if (!skip_digits())
      return std::nullopt;
  }
  if (next_is("eE")) {
    whole = false;
    ++at_;
    at_ += next_is("+-") ? 1 : 0;
    if (!skip_digits())
      return std::nullopt;
  }
  json_scalar value{.kind = json_kind::whole_number};
  const auto* from = text_.data() + begin;
  const auto* to = text_.data() + at_;
  if (whole && std::from_chars(from, to, value.whole).ec == std::errc())
    return value;
  value = {.kind = json_kind::other_number};
  if (std::from_chars(from, to, value.real).ec == std::errc())
    return value;
  problem_ = "a number is out of range";
  return std::nullopt;
}

}  // namespace longshore
