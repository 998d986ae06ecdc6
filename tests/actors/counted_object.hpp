#pragma once
/// Objects for the cache that count themselves: how many there are, and how many bytes those have that were granted.
///
/// Owns nothing but its share in the counts, which outlive it. One thread.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "messages/cache.hpp"

namespace longshore {

struct object_counts {
  size_t alive = 0;
  uint64_t granted_bytes = 0;
};

class counted_object {
public:
  counted_object(object_counts& counts, std::string key, uint64_t bytes)
      : counts_(counts), key_(std::move(key)), bytes_(bytes) {
    ++counts_.alive;
  }
  ~counted_object() {
    --counts_.alive;
    counts_.granted_bytes -= granted_ ? bytes_ : 0;
  }
  counted_object(const counted_object&) = delete;
  counted_object& operator=(const counted_object&) = delete;

  const std::string& key() const { return key_; }

  /// The cache has said that the object is there: from now on its bytes count. Said again it means nothing.
  void granted() const {
    if (!std::exchange(granted_, true))
      counts_.granted_bytes += bytes_;
  }

private:
  object_counts& counts_;
  std::string key_;
  uint64_t bytes_;
  mutable bool granted_ = false;
};

/// A request to put one.
inline put_object counted(object_counts& counts, const std::string& key, uint64_t bytes) {
  return {.key = key,
          .kind = model_kind::ckpt,
          .bytes = bytes,
          .payload = std::make_shared<const counted_object>(counts, key, bytes)};
}

/// The object of a lease; null for a model.
inline const counted_object* object_of(const model_answer& answer) {
  return static_cast<const counted_object*>(answer.lease->model().object.get());
}

}  // namespace longshore
