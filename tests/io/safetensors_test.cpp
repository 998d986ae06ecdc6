// The header's rules, case by case: what the reference parser says of each, and where we are stricter.
#include "io/safetensors.hpp"

#include <cstring>
#include <limits>

#include <gtest/gtest.h>

using namespace longshore;

namespace {

constexpr uint64_t max_u64 = std::numeric_limits<uint64_t>::max();

std::string tensor(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

const std::string two_floats = tensor("F32", "[2]", "[0,8]");
const std::string baseline = R"({"a":)" + two_floats + "}";

std::string only_a(const std::string& value) { return R"({"a":)" + value + "}"; }

std::string nested(size_t arrays) {
  return R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":)" + std::string(arrays, '[') +
         std::string(arrays, ']') + "}}";
}

std::string rank(size_t dimensions) {
  std::string shape = "[8";
  for (size_t i = 1; i < dimensions; ++i)
    shape += ",1";
  return only_a(tensor("U8", shape + "]", "[0,8]"));
}

/// The two public steps, as a reader of a file with this header and so many data bytes would take them.
expected<safetensors_header> parse(const std::string& json, uint64_t data_bytes, header_limits limits = {}) {
  const auto file_bytes = 8 + json.size() + data_bytes;
  std::array<std::byte, 8> length{};
  const uint64_t n = json.size();
  std::memcpy(length.data(), &n, sizeof n);
  const auto found = header_length(length, file_bytes, "m.safetensors", limits);
  if (!found)
    return unexpected(found.error());
  EXPECT_EQ(*found, n);
  return parse_header(json, file_bytes, "m.safetensors", limits);
}

struct good_case {
  const char* title;
  std::string json;
  uint64_t data_bytes;
  size_t tensors;
};

struct bad_case {
  const char* title;
  std::string json;
  uint64_t data_bytes;
  const char* message;
  std::string where;
};

const std::vector<good_case>& good_cases() {
  static const std::vector<good_case> list{
      {"baseline", baseline, 8, 1},
      {"header {} no data", "{}", 0, 0},
      {"leading spaces", "   " + baseline, 8, 1},
      {"trailing spaces", baseline + "     ", 8, 1},
      {"header len not multiple of 8", baseline, 8, 1},
      {"unknown tensor field", only_a(R"({"x":[1,{"y":-0.5e1}],"dtype":"F32","shape":[2],"data_offsets":[0,8]})"), 8,
       1},
      {"unknown field twice", only_a(R"({"x":1,"x":null,"dtype":"F32","shape":[2],"data_offsets":[0,8]})"), 8, 1},
      {"metadata", R"({"__metadata__":{"format":"pt"},"a":)" + two_floats + "}", 8, 1},
      {"__metadata__ dup key", R"({"__metadata__":{"k":"1","k":"2"}})", 0, 0},
      {"metadata via escape", R"({"\u005f_metadata__":{"k":"v"}})", 0, 0},
      {"tensor as JSON array", R"({"a":["F32",[2],[0,8]]})", 8, 1},
      {"dtype as object", only_a(R"({"dtype":{"F32":null},"shape":[2],"data_offsets":[0,8]})"), 8, 1},
      {"dtype as object in array", R"({"a":[{"F32":null},[2],[0,8]]})", 8, 1},
      {"shape 0 first then huge", only_a(tensor("F32", "[0,18446744073709551615,4]", "[0,0]")), 0, 1},
      {"scalar shape []", only_a(tensor("F32", "[]", "[0,4]")), 4, 1},
      {"header order != offset order",
       R"({"b":)" + tensor("U8", "[4]", "[4,8]") + R"(,"a":)" + tensor("U8", "[4]", "[0,4]") + "}", 8, 2},
      {"zero-size tensor in the middle",
       R"({"a":)" + tensor("U8", "[4]", "[0,4]") + R"(,"z":)" + tensor("F32", "[0]", "[4,4]") + R"(,"b":)" +
           tensor("U8", "[4]", "[4,8]") + "}",
       8, 3},
      {"misaligned F32 at offset 1",
       R"({"a":)" + tensor("U8", "[1]", "[0,1]") + R"(,"b":)" + tensor("F32", "[1]", "[1,5]") + "}", 5, 2},
      {"F4 even count", only_a(tensor("F4", "[2]", "[0,1]")), 1, 1},
      {"F6 x4 = 3 bytes", only_a(tensor("F6_E2M3", "[4]", "[0,3]")), 3, 1},
      {"empty tensor name", R"({"":)" + two_floats + "}", 8, 1},
      {"unknown field nested 100 deep", nested(100), 8, 1},
      {"rank 100001", rank(100'001), 8, 1},
      {"name in other scripts", R"({"\u00e9é€😀\ud83d\ude00":)" + two_floats + "}", 8, 1},
  };
  return list;
}

const std::vector<bad_case>& bad_json_cases() {
  static const std::vector<bad_case> list{
      {"n=0, nothing", "", 0, "found the end", ""},
      {"leading BOM", "\xEF\xBB\xBF" + baseline, 8, "byte order mark", ""},
      {"trailing NUL pad", baseline + std::string(2, '\0'), 8, "found byte 0", ""},
      {"trailing garbage", baseline + "x", 8, "expected nothing behind the value, found x", ""},
      {"second value", "{}{}", 0, "expected nothing behind the value", ""},
      {"top-level array", "[" + baseline + "]", 8, "header must be an object, found an array", ""},
      {"top-level null", "null", 0, "header must be an object, found null", ""},
      {"top-level string", R"("a")", 0, "header must be an object, found a string", ""},
      {"raw control char in name", "{\"a\n\":" + two_floats + "}", 8, "raw control character", ""},
      {"lone surrogate escape", R"({"\ud800":)" + two_floats + "}", 8, "surrogate", ""},
      {"lone second surrogate", R"({"\udc00":)" + two_floats + "}", 8, "surrogate", ""},
      {"short escape", R"({"\u12":)" + two_floats + "}", 8, "four hexadecimal digits", ""},
      {"unknown escape", R"({"\x41":)" + two_floats + "}", 8, "backslash", ""},
      {"trailing comma", R"({"a":)" + two_floats + ",}", 8, "field name in quotes, found }", ""},
      {"non-utf8", "{\"\xFF\":" + two_floats + "}", 8, "not UTF-8", ""},
      {"overlong utf8", "{\"\xC0\x80\":" + two_floats + "}", 8, "not UTF-8", ""},
      {"surrogate in utf8", "{\"\xED\xA0\x80\":" + two_floats + "}", 8, "not UTF-8", ""},
      {"past the last code point", "{\"\xF4\x90\x80\x80\":" + two_floats + "}", 8, "not UTF-8", ""},
      {"non-utf8 outside a string", "{\xFF}", 0, "found byte 255", ""},
      {"shape leading zero 02", only_a(tensor("F32", "[02]", "[0,8]")), 8, "leading zeros", ""},
      {"number past all range", only_a(R"({"x":1e400})"), 0, "out of range", ""},
      {"cut off", baseline.substr(0, 30), 8, "found the end", ""},
      {"unknown field nested 200 deep", nested(200), 8, "nest more than 127", ""},
      {"one level too deep", nested(126), 8, "nest more than 127", ""},
  };
  return list;
}

const std::vector<bad_case>& bad_field_cases() {
  static const std::vector<bad_case> list{
      {"tensor null", only_a("null"), 8, "tensor must be an object", "a"},
      {"missing shape", only_a(R"({"dtype":"F32","data_offsets":[0,8]})"), 8, "has no shape", "a"},
      {"missing dtype", only_a(R"({"shape":[2],"data_offsets":[0,8]})"), 8, "has no dtype", "a"},
      {"missing offsets", only_a(R"({"dtype":"F32","shape":[2]})"), 8, "has no data_offsets", "a"},
      {"short array form", R"({"a":["F32",[2]]})", 8, "has no data_offsets", "a"},
      {"long array form", R"({"a":["F32",[2],[0,8],1]})", 8, "three items, found a whole number", "a"},
      {"dup field inside tensor", only_a(R"({"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]})"), 8,
       "dtype stands twice", "a"},
      {"dup tensor name, same range", R"({"a":)" + two_floats + R"(,"a":)" + two_floats + "}", 8, "twice", "a"},
      {"dup tensor name, consecutive ranges",
       R"({"a":)" + two_floats + R"(,"a":)" + tensor("F32", "[2]", "[8,16]") + "}", 16, "twice", "a"},
      {"dup via unicode escape", R"({"a":)" + two_floats + R"(,"\u0061":)" + two_floats + "}", 8, "twice", "a"},
      {"dup __metadata__", R"({"__metadata__":{},"__metadata__":{}})", 0, "stands twice", "__metadata__"},
      {"__metadata__ null", R"({"__metadata__":null})", 0, "must be an object of strings, found null", "__metadata__"},
      {"__metadata__ non-string value", R"({"__metadata__":{"k":1}})", 0, "must be strings", "__metadata__"},
      {"__metadata__ as tensor", R"({"__metadata__":)" + tensor("F32", "[2]", "[0,8]") + "}", 8,
       "must be strings, found an array", "__metadata__"},
      {"dtype lower case", only_a(tensor("f32", "[2]", "[0,8]")), 8, "unknown dtype \"f32\"", "a"},
      {"dtype unknown", only_a(tensor("F128", "[2]", "[0,8]")), 8, "unknown dtype \"F128\"", "a"},
      {"dtype as integer index", only_a(R"({"dtype":17,"shape":[2],"data_offsets":[0,8]})"), 8, "dtype must be a name",
       "a"},
      {"dtype object empty", only_a(R"({"dtype":{},"shape":[2],"data_offsets":[0,8]})"), 8, "empty object", "a"},
      {"dtype object of two", only_a(R"({"dtype":{"F32":null,"F16":null},"shape":[2],"data_offsets":[0,8]})"), 8,
       "one name", "a"},
      {"dtype object not null", only_a(R"({"dtype":{"F32":1},"shape":[2],"data_offsets":[0,8]})"), 8, "holds null",
       "a"},
      {"dtype object not null but a list", only_a(R"({"dtype":{"F32":[]},"shape":[2],"data_offsets":[0,8]})"), 8,
       "holds null, found an array", "a"},
      {"dtype object unknown", only_a(R"({"dtype":{"F33":null},"shape":[2],"data_offsets":[0,8]})"), 8, "unknown dtype",
       "a"},
      {"shape float 2.0", only_a(tensor("F32", "[2.0]", "[0,8]")), 8, "whole numbers", "a"},
      {"shape 2e0", only_a(tensor("F32", "[2e0]", "[0,8]")), 8, "whole numbers", "a"},
      {"shape negative", only_a(tensor("F32", "[-2]", "[0,8]")), 8, "whole numbers", "a"},
      {"shape -0", only_a(tensor("F32", "[-0]", "[0,0]")), 0, "whole numbers", "a"},
      {"shape > u64", only_a(tensor("F32", "[18446744073709551616]", "[0,8]")), 8, "past 64 bits", "a"},
      {"shape null", only_a(tensor("F32", "null", "[0,8]")), 8, "shape must be an array", "a"},
      {"shape of shapes", only_a(tensor("F32", "[[2]]", "[0,8]")), 8, "whole numbers", "a"},
      {"offset -0", only_a(tensor("F32", "[0]", "[-0,0]")), 0, "data_offsets must be whole numbers", "a"},
      {"offsets 3 items", only_a(tensor("F32", "[2]", "[0,8,8]")), 8, "two numbers", "a"},
      {"offsets 1 item", only_a(tensor("F32", "[2]", "[0]")), 8, "found 1", "a"},
      {"name with NUL escape", R"({"a\u0000":)" + two_floats + "}", 8, "NUL", std::string("a\0", 2)},
  };
  return list;
}

const std::vector<bad_case>& bad_range_cases() {
  static const std::vector<bad_case> list{
      {"shape overflow u64 then *0", only_a(tensor("F32", "[18446744073709551615,4,0]", "[0,0]")), 0, "overflows", "a"},
      {"bits overflow", only_a(tensor("F64", "[9223372036854775807]", "[0,8]")), 8, "overflows", "a"},
      {"offsets reversed", only_a(tensor("F32", "[2]", "[8,0]")), 8, "should begin at 0", "a"},
      {"end before begin", R"({"a":)" + tensor("U8", "[8]", "[0,8]") + R"(,"b":)" + tensor("U8", "[4]", "[8,4]") + "}",
       8, "end before they begin", "b"},
      {"first offset not 0", only_a(tensor("F32", "[2]", "[4,12]")), 12, "should begin at 0", "a"},
      {"hole", R"({"a":)" + tensor("U8", "[4]", "[0,4]") + R"(,"b":)" + tensor("U8", "[4]", "[5,9]") + "}", 9,
       "should begin at 4", "b"},
      {"overlap", R"({"a":)" + tensor("U8", "[4]", "[0,4]") + R"(,"b":)" + tensor("U8", "[4]", "[3,7]") + "}", 7,
       "should begin at 4", "b"},
      {"zero-size tensor past the end",
       R"({"a":)" + tensor("U8", "[4]", "[0,4]") + R"(,"z":)" + tensor("U8", "[0]", "[5,5]") + "}", 4,
       "should begin at 4", "z"},
      {"size mismatch", only_a(tensor("F32", "[3]", "[0,8]")), 8, "need 12 bytes", "a"},
      {"F4 odd count", only_a(tensor("F4", "[3]", "[0,2]")), 2, "no whole number of bytes", "a"},
      {"file 1 byte short", baseline, 7, "cut short", ""},
      {"file 1 byte long", baseline, 9, "1 bytes behind its last tensor", ""},
      {"header {} + trailing data", "{}", 4, "4 bytes behind its last tensor", ""},
  };
  return list;
}

void expect_refused(const std::vector<bad_case>& cases) {
  for (const auto& c : cases) {
    SCOPED_TRACE(c.title);
    const auto header = parse(c.json, c.data_bytes);
    ASSERT_FALSE(header.has_value());
    EXPECT_EQ(header.error().code, errc::bad_format);
    EXPECT_EQ(header.error().path, "m.safetensors");
    EXPECT_NE(header.error().what.find(c.message), std::string::npos) << header.error().what;
    ASSERT_TRUE(header.error().offset_bytes.has_value());
    EXPECT_LE(*header.error().offset_bytes, 8 + c.json.size() + c.data_bytes);
    EXPECT_EQ(header.error().where, c.where);
  }
}

std::string refusal(uint64_t n, uint64_t file_bytes, header_limits limits = {}) {
  std::array<std::byte, 8> first{};
  std::memcpy(first.data(), &n, sizeof n);
  const auto length = header_length(first, file_bytes, "m.safetensors", limits);
  if (length)
    return "accepted";
  EXPECT_EQ(length.error().code, errc::bad_format);
  return length.error().what;
}

}  // namespace

TEST(safetensors, takes_what_the_reference_takes) {
  for (const auto& c : good_cases()) {
    SCOPED_TRACE(c.title);
    const auto header = parse(c.json, c.data_bytes);
    ASSERT_TRUE(header.has_value()) << to_text(header.error());
    EXPECT_EQ(header->tensors.size(), c.tensors);
    EXPECT_EQ(header->data_begin_bytes, 8 + c.json.size());
  }
}

TEST(safetensors, refuses_what_is_not_json) { expect_refused(bad_json_cases()); }
TEST(safetensors, refuses_wrong_fields) { expect_refused(bad_field_cases()); }
TEST(safetensors, refuses_ranges_and_sizes_that_do_not_add_up) { expect_refused(bad_range_cases()); }

TEST(safetensors, takes_127_levels_and_no_more) {
  EXPECT_TRUE(parse(nested(125), 8).has_value());
  EXPECT_FALSE(parse(nested(126), 8).has_value());
  EXPECT_TRUE(parse(nested(126), 8, {.max_depth = 128}).has_value());
  EXPECT_FALSE(parse(baseline, 8, {.max_depth = 2}).has_value());
}

TEST(safetensors, checks_the_length_before_anything_is_read) {
  EXPECT_NE(refusal(0, 0).find("has 0 bytes"), std::string::npos);
  EXPECT_NE(refusal(0, 7).find("has 7 bytes"), std::string::npos);
  EXPECT_EQ(refusal(0, 8), "accepted");
  EXPECT_EQ(refusal(100'000'000, 100'000'008), "accepted");
  EXPECT_NE(refusal(100'000'001, max_u64).find("more than the 100000000 allowed"), std::string::npos);
  EXPECT_NE(refusal(max_u64, 62).find("more than"), std::string::npos);
  EXPECT_NE(refusal(63, 70).find("cut short"), std::string::npos);
  EXPECT_EQ(refusal(62, 70), "accepted");
  EXPECT_NE(refusal(62, 70, {.max_header_bytes = 61}).find("more than the 61"), std::string::npos);
  EXPECT_FALSE(header_length({}, 3, "m.safetensors").has_value());
  EXPECT_FALSE(parse_header(baseline, 20, "m.safetensors").has_value());
}

TEST(safetensors, takes_a_header_of_exactly_the_limit) {
  const auto header = parse("{" + std::string(99'999'998, ' ') + "}", 0);
  ASSERT_TRUE(header.has_value());
  EXPECT_TRUE(header->tensors.empty());
}

TEST(safetensors, gives_tensors_in_the_order_of_the_data) {
  const auto json = R"({"b":)" + tensor("U8", "[4]", "[4,8]") + R"(,"z":)" + tensor("I64", "[3,0]", "[4,4]") +
                    R"(,"a":)" + tensor("BF16", "[2,1]", "[0,4]") + R"(,"y":)" + tensor("U8", "[0]", "[4,4]") + "}";
  const auto header = parse(json, 8);
  ASSERT_TRUE(header.has_value());
  const std::vector<tensor_info> wanted{{"a", dtype::BF16, {2, 1}, 0, 4},
                                        {"z", dtype::I64, {3, 0}, 4, 4},
                                        {"y", dtype::U8, {0}, 4, 4},
                                        {"b", dtype::U8, {4}, 4, 8}};
  EXPECT_EQ(header->tensors, wanted);
  EXPECT_EQ(header->tensors[3].size_bytes(), 4u);
}

TEST(safetensors, decodes_names_and_keeps_the_last_of_repeated_metadata) {
  const auto header = parse(
      R"({"\u0061\n\"é\ud83d\ude00":)" + two_floats + R"(,"__metadata__":{"z":"1","format":"pt","z":"\u00e9","z":""}})",
      8);
  ASSERT_TRUE(header.has_value());
  EXPECT_EQ(header->tensors[0].name, "a\n\"é😀");
  const std::vector<std::pair<std::string, std::string>> wanted{{"format", "pt"}, {"z", ""}};
  EXPECT_EQ(header->metadata, wanted);
}

TEST(safetensors, says_at_which_byte_of_the_file_and_in_which_tensor) {
  auto header = parse("{\"a\":x}", 0);
  EXPECT_EQ(header.error().offset_bytes, 8u + 5u);
  header = parse(R"({"a":)" + tensor("U8", "[4]", "[0,4]") + R"(,"b":)" + tensor("U8", "[4]", "[5,9]") + "}", 9);
  EXPECT_EQ(header.error().offset_bytes, 8u + 5u + tensor("U8", "[4]", "[0,4]").size() + 4u);
  EXPECT_EQ(header.error().where, "b");
  header = parse(baseline, 7);
  EXPECT_EQ(header.error().offset_bytes, 8u + baseline.size() + 7u);
}

TEST(safetensors, refuses_ranges_at_the_end_of_all_numbers) {
  const auto huge = tensor("U8", "[18446744073709551615]", "[0,18446744073709551615]");
  EXPECT_FALSE(parse(only_a(huge), 8).has_value());
  const auto most = tensor("U8", "[2305843009213693951]", "[0,2305843009213693951]");
  const auto header = parse(only_a(most), 8);
  ASSERT_FALSE(header.has_value());
  EXPECT_NE(header.error().what.find("cut short"), std::string::npos);
}

TEST(safetensors, each_dtype_has_its_name_and_bits) {
  const std::vector<std::pair<unsigned, std::vector<const char*>>> by_bits{
      {4, {"F4"}},
      {6, {"F6_E2M3", "F6_E3M2"}},
      {8, {"BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"}},
      {16, {"I16", "U16", "F16", "BF16"}},
      {32, {"I32", "U32", "F32"}},
      {64, {"C64", "F64", "I64", "U64"}},
  };
  size_t count = 0;
  for (const auto& [wanted_bits, type_names] : by_bits)
    for (auto type_name : type_names) {
      const auto type = dtype_from_name(type_name);
      ASSERT_TRUE(type.has_value()) << type_name;
      EXPECT_EQ(bits(*type), wanted_bits) << type_name;
      EXPECT_EQ(name(*type), type_name);
      ++count;
    }
  EXPECT_EQ(count, dtype_count);
  EXPECT_EQ(dtype_from_name("f32"), std::nullopt);
}
