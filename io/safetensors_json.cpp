#include "io/safetensors_json.hpp"

#include <algorithm>
#include <array>
#include <map>

#include "io/json_events.hpp"

namespace longshore {
namespace {

/// Which value comes next. The first three are the fields of a tensor, in their order in the array form.
enum class slot : uint8_t {
  dtype,
  shape,
  offsets,
  none,
  header,
  tensor,
  metadata,
  metadata_value,
  dtype_null,
  dimension,
  offset,
  unknown,
};

constexpr std::array<std::string_view, 3> field_names{"dtype", "shape", "data_offsets"};

std::string_view wanted(slot place) {
  switch (place) {
    case slot::dtype:
      return "dtype must be a name such as \"F32\"";
    case slot::shape:
      return "shape must be an array of whole numbers";
    case slot::offsets:
      return "data_offsets must be an array of two whole numbers, begin and end";
    case slot::none:
      return "a tensor given as an array has three items";
    case slot::header:
      return "the header must be an object";
    case slot::tensor:
      return "a tensor must be an object with dtype, shape and data_offsets";
    case slot::metadata:
      return "__metadata__ must be an object of strings";
    case slot::metadata_value:
      return "values in __metadata__ must be strings";
    case slot::dtype_null:
      return "a dtype given as an object holds null";
    case slot::dimension:
      return "the dimensions of a shape must be whole numbers, written without sign, point or exponent";
    case slot::offset:
      return "data_offsets must be whole numbers, written without sign, point or exponent";
    case slot::unknown:
      break;
  }
  return "";
}

class header_reader : public json_events<header_reader> {
public:
  explicit header_reader(const json_source& source) : json_events(source) {
    constexpr size_t usual_bytes_a_tensor = 96;
    fields_.tensors.reserve(source.text.size() / usual_bytes_a_tensor);
    fields_.name_offsets_bytes.reserve(source.text.size() / usual_bytes_a_tensor);
  }

  header_fields take() {
    fields_.metadata.assign(metadata_.begin(), metadata_.end());
    return std::move(fields_);
  }

  bool scalar(const json_scalar& value) {
    if (skipped_depth_ > 0)
      return true;
    if (next_ == slot::unknown)
      return value_done();
    if (next_ == slot::dtype && value.kind == json_kind::text)
      return set_dtype(value.text) && value_done();
    if (next_ == slot::metadata_value && value.kind == json_kind::text) {
      *metadata_value_ = value.text;
      return true;
    }
    if (next_ == slot::dtype_null && value.kind == json_kind::null)
      return true;
    if ((next_ == slot::dimension || next_ == slot::offset) && value.kind == json_kind::whole_number)
      return add_number(value.whole);
    return wrong(value.kind);
  }

  bool open(json_kind kind) {
    const auto is_object = kind == json_kind::object;
    if (skipped_depth_ > 0 || next_ == slot::unknown) {
      ++skipped_depth_;
      return true;
    }
    if (next_ == slot::tensor)
      return open_tensor(is_object);
    if (is_object && (next_ == slot::header || next_ == slot::metadata || next_ == slot::dtype))
      return into(next_, slot::none);
    if (!is_object && (next_ == slot::shape || next_ == slot::offsets))
      return into(next_, next_ == slot::shape ? slot::dimension : slot::offset);
    return wrong(kind);
  }

  bool close() {
    if (skipped_depth_ > 0)
      return --skipped_depth_ > 0 || value_done();
    switch (inside_) {
      case slot::shape:
        tensor().shape = numbers_;
        break;
      case slot::offsets:
        if (numbers_.size() != 2)
          return wrong_count();
        tensor().begin_bytes = numbers_[0];
        tensor().end_bytes = numbers_[1];
        break;
      case slot::dtype:
        if (next_ != slot::dtype_null)
          return fail(std::string(wanted(slot::dtype)) + ", found an empty object", where());
        break;
      case slot::tensor:
        return close_tensor();
      default:
        return into(slot::header, slot::none);
    }
    numbers_.clear();
    next_ = inside_;
    inside_ = slot::tensor;
    return value_done();
  }

  bool field(std::string_view name) {
    if (skipped_depth_ > 0)
      return true;
    switch (inside_) {
      case slot::tensor:
        return tensor_field(name);
      case slot::metadata:
        metadata_value_ = &metadata_[std::string(name)];
        next_ = slot::metadata_value;
        return true;
      case slot::dtype:
        if (next_ == slot::dtype_null)
          return fail("a dtype given as an object holds one name, found a second", where());
        next_ = slot::dtype_null;
        return set_dtype(name);
      default:
        return header_field(name);
    }
  }

private:
  tensor_info& tensor() { return fields_.tensors.back(); }

  /// The name of what is being read. A tensor is in the list before its value opens.
  std::string where() const {
    if (inside_ == slot::metadata || next_ == slot::metadata)
      return "__metadata__";
    const auto in_tensor = next_ == slot::tensor || (inside_ != slot::none && inside_ != slot::header);
    return in_tensor ? fields_.tensors.back().name : std::string();
  }

  bool wrong(json_kind found) {
    return fail(std::string(wanted(next_)) + ", found " + std::string(longshore::name(found)), where());
  }

  bool wrong_count() {
    return fail("data_offsets must be two numbers, begin and end, found " + std::to_string(numbers_.size()), where());
  }

  bool into(slot container, slot first) {
    inside_ = container;
    next_ = first;
    return true;
  }

  bool header_field(std::string_view name) {
    if (name == "__metadata__") {
      next_ = slot::metadata;
      return !std::exchange(metadata_seen_, true) || fail("__metadata__ stands twice in the header", std::string(name));
    }
    fields_.tensors.push_back({.name = std::string(name), .shape = {}});
    fields_.name_offsets_bytes.push_back(offset_bytes());
    next_ = slot::tensor;
    return name.find('\0') == std::string_view::npos ||
           fail("a tensor name may not hold a NUL character", std::string(name));
  }

  bool open_tensor(bool is_object) {
    array_form_ = !is_object;
    seen_fields_ = 0;
    return into(slot::tensor, array_form_ ? slot::dtype : slot::none);
  }

  bool close_tensor() {
    for (size_t i = 0; i < field_names.size(); ++i)
      if ((seen_fields_ >> i & 1) == 0)
        return fail(
            "the tensor has no " + std::string(field_names[i]) + "; dtype, shape and data_offsets are all required",
            where());
    return into(slot::header, slot::none);
  }

  bool tensor_field(std::string_view name) {
    const auto known = std::find(field_names.begin(), field_names.end(), name);
    if (known == field_names.end()) {
      next_ = slot::unknown;
      return true;
    }
    next_ = static_cast<slot>(known - field_names.begin());
    return (seen_fields_ & bit(next_)) == 0 || fail(std::string(name) + " stands twice in one tensor", where());
  }

  static uint8_t bit(slot field) { return static_cast<uint8_t>(1u << static_cast<unsigned>(field)); }

  bool value_done() {
    if (next_ == slot::unknown)
      return into(slot::tensor, slot::none);
    seen_fields_ |= bit(next_);
    next_ = array_form_ ? static_cast<slot>(static_cast<unsigned>(next_) + 1) : slot::none;
    return true;
  }

  bool set_dtype(std::string_view text) {
    const auto type = dtype_from_name(text);
    constexpr size_t max_quoted_bytes = 32;
    if (!type)
      return fail("unknown dtype" +
                      (text.size() <= max_quoted_bytes ? " \"" + std::string(text) + '"' : std::string()) +
                      "; expected one of the format's names, in capitals, such as \"F16\" or \"BF16\"",
                  where());
    tensor().type = *type;
    return true;
  }

  bool add_number(uint64_t number) {
    numbers_.push_back(number);
    return next_ == slot::dimension || numbers_.size() <= 2 || wrong_count();
  }

  header_fields fields_;
  std::map<std::string, std::string> metadata_;
  std::string* metadata_value_ = nullptr;  // in the map, of the key read last
  std::vector<uint64_t> numbers_;          // of the shape or the offsets that are open
  slot inside_ = slot::none;
  slot next_ = slot::header;
  unsigned skipped_depth_ = 0;  // open containers within the value of an unknown field
  uint8_t seen_fields_ = 0;
  bool array_form_ = false;
  bool metadata_seen_ = false;
};

}  // namespace

expected<header_fields> read_header_fields(std::string_view json, const std::string& path,
                                           const header_limits& limits) {
  header_reader reader({.text = json, .path = path, .begin_bytes = header_length_bytes, .max_depth = limits.max_depth});
  if (auto done = reader.run(); !done)
    return unexpected(std::move(done.error()));
  return reader.take();
}

}  // namespace longshore
