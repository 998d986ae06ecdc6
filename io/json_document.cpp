#include "io/json_document.hpp"

namespace longshore {
namespace {

using nlohmann::json;

class tree_builder : public json_events<tree_builder> {
public:
  using json_events::json_events;

  json take() { return std::move(root_); }

  bool scalar(const json_scalar& value) {
    switch (value.kind) {
      case json_kind::boolean:
        place(value.whole == 1);
        break;
      case json_kind::whole_number:
        place(value.whole);
        break;
      case json_kind::other_number:
        place(value.real);
        break;
      case json_kind::text:
        place(std::string(value.text));
        break;
      default:
        place(nullptr);
        break;
    }
    return true;
  }

  bool open(json_kind kind) {
    open_.push_back(&place(kind == json_kind::object ? json::object() : json::array()));
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  bool field(std::string_view name) {
    auto& object = open_.back()->get_ref<json::object_t&>();
    const auto [entry, is_new] = object.try_emplace(std::string(name));
    next_ = &entry->second;
    return is_new || fail("the field stands twice in one object", pointer() + pointer_step(name));
  }

private:
  /// Puts a value where the next one belongs: the root, the field named last, or the end of an array.
  json& place(json value) {
    if (open_.empty())
      return root_ = std::move(value);
    if (open_.back()->is_object())
      return *next_ = std::move(value);
    return open_.back()->emplace_back(std::move(value));
  }

  /// Of the innermost open object, found by going down again: no path is kept for what is nearly never asked.
  std::string pointer() const {
    std::string path;
    for (size_t depth = 0; depth + 1 < open_.size(); ++depth) {
      const auto& container = *open_[depth];
      if (container.is_array())
        path += "/" + std::to_string(container.size() - 1);
      else
        for (const auto& [name, child] : container.items())
          if (&child == open_[depth + 1])
            path += pointer_step(name);
    }
    return path;
  }

  json root_;
  std::vector<json*> open_;  // stays valid: a container grows only while nothing within it is open
  json* next_ = nullptr;
};

}  // namespace

expected<json> read_document(const json_source& source) {
  tree_builder builder(source);
  if (auto done = builder.run(); !done)
    return unexpected(std::move(done.error()));
  return builder.take();
}

}  // namespace longshore
