#pragma once
/// The numbers that tell a user of a key whether what it stands for has changed.
///
/// Owns one counter, and for keys that are gone the number of their going. Pure: no clock, thread, I/O or CAF.
/// Limit: at most `max_tombstones` keys that are gone are known one by one. The oldest beyond that fall under one
/// common floor, which may then move for a key that did not change: users look once too often, never once too little.
/// Failure: none. The number of a key never goes down, and no number is ever given twice.

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace longshore {

class generations {
public:
  explicit generations(size_t max_tombstones) : max_tombstones_(max_tombstones) {}

  /// A number that was never given before.
  uint64_t fresh() { return ++last_; }

  /// The number of a key that is put or replaced now.
  uint64_t put(std::string_view key);

  /// Notes that a key is gone now.
  void gone(const std::string& key);

  /// The number of a key that is absent: that of its going, or the floor.
  uint64_t of_absent(std::string_view key) const;

private:
  size_t max_tombstones_;
  uint64_t last_ = 0;
  uint64_t floor_ = 0;
  std::map<std::string, uint64_t, std::less<>> tombstones_;
  std::map<uint64_t, std::string> by_age_;  // the same, oldest first
};

}  // namespace longshore
