// The scanner and the events beside the JSON library, which must agree with it on every text but for the known traps.
#include "io/json_events.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <nlohmann/json.hpp>

#include "io/json_document.hpp"

using namespace longshore;
using nlohmann::json;

namespace {

expected<json> read(std::string_view text) { return read_document({.text = text, .path = "t.json"}); }

bool has_repeated_field(const std::string& text) {
  bool repeated = false;
  std::vector<std::vector<std::string>> open;
  const auto parsed = json::parse(
      text,
      [&](int, json::parse_event_t event, json& value) {
        if (event == json::parse_event_t::object_start)
          open.emplace_back();
        if (event == json::parse_event_t::object_end)
          open.pop_back();
        if (event == json::parse_event_t::key) {
          repeated = repeated || std::find(open.back().begin(), open.back().end(), value) != open.back().end();
          open.back().push_back(value);
        }
        return true;
      },
      false);
  return repeated && !parsed.is_discarded();
}

/// Text that is often JSON, for the pieces are: a tree, written out, with a few places changed.
std::string random_text() {
  const std::vector<std::string> pieces{"{",
                                        "}",
                                        "[",
                                        "]",
                                        ",",
                                        ":",
                                        "\"a\"",
                                        "\"\\u00e9\"",
                                        "\"\\ud83d\\ude00\"",
                                        "\"é€😀\"",
                                        "null",
                                        "true",
                                        "false",
                                        "0",
                                        "-1",
                                        "1.5e3",
                                        "\"\\n\"",
                                        " ",
                                        "\n",
                                        "\\",
                                        "\"",
                                        "\xFF",
                                        "\xED\xA0\x80",
                                        "01",
                                        "-",
                                        "1.",
                                        "1e",
                                        "\"\\ud800\"",
                                        "\"\\udc00\"",
                                        "18446744073709551616",
                                        "{\"k\":[1,2]}",
                                        "[[],{}]",
                                        "\x01",
                                        "\"\xE2\x82\"",
                                        "\"\x7F\"",
                                        "tru",
                                        "/",
                                        "\"b\":",
                                        "1E+2",
                                        "\"\\/\\b\\f\\r\\t\""};
  const auto chosen = *rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(pieces));
  std::string text;
  for (const auto& piece : chosen)
    text += piece;
  return *rc::gen::element(text, "[" + text + "]", "{\"x\":" + text + "}");
}

}  // namespace

RC_GTEST_PROP(json_events, agrees_with_the_json_library, ()) {
  const auto text = random_text();
  const auto theirs = json::parse(text, nullptr, false);
  const auto ours = read(text);
  if (!theirs.is_discarded() && has_repeated_field(text))
    RC_ASSERT(!ours.has_value());
  else
    RC_ASSERT(ours.has_value() == !theirs.is_discarded());
  if (ours.has_value())
    RC_ASSERT(*ours == theirs);
}

TEST(json_events, agrees_with_the_json_library_on_every_short_text) {
  const std::string letters = "{}[],:\"0-.e1\\u ";
  size_t accepted = 0;
  const auto count = letters.size();
  for (size_t code = 0; code < count * count * count * count; ++code) {
    std::string text;
    for (auto rest = code; text.size() < 4; rest /= count)
      text += letters[rest % count];
    const auto valid = json::accept(text);
    accepted += valid ? 1 : 0;
    ASSERT_EQ(read(text).has_value(), valid) << text;
  }
  EXPECT_GT(accepted, 100u);
}

TEST(json_events, refuses_what_the_library_lets_pass) {
  using namespace std::string_literals;
  for (const auto& text : {"\xEF\xBB\xBF{}"s, "{}\0"s, "{}\0x"s, R"({"a":1,"a":1})"s})
    EXPECT_FALSE(read(text).has_value()) << text;
}

TEST(json_events, names_the_pointer_of_a_repeated_field) {
  const auto tree = read(R"({"z":1,"a":[0,{"b/~":{"c":1,"c":2}}]})");
  ASSERT_FALSE(tree.has_value());
  EXPECT_EQ(tree.error().where, "/a/1/b~1~0/c");
  EXPECT_EQ(read(R"({"a":1,"a":2})").error().where, "/a");
}

TEST(json_events, tells_line_column_and_offset) {
  const auto tree = read("{\n  \"a\": 1,\n  b\n}");
  ASSERT_FALSE(tree.has_value());
  EXPECT_EQ(tree.error().what, "not valid JSON at line 3, column 3: expected a field name in quotes, found b");
  EXPECT_EQ(tree.error().offset_bytes, 14u);
}

TEST(json_events, keeps_whole_numbers_whole) {
  const auto tree = read("[18446744073709551615, 0, -0, 18446744073709551616, 1e0]");
  ASSERT_TRUE(tree.has_value());
  EXPECT_EQ((*tree)[0].get<uint64_t>(), 18446744073709551615u);
  EXPECT_TRUE((*tree)[1].is_number_unsigned());
  for (size_t i = 2; i < 5; ++i)
    EXPECT_TRUE((*tree)[i].is_number_float()) << i;
}
