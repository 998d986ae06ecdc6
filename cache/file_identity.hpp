#pragma once
/// Which file it is, so that two names of one file are known as one, and a file that changed as another.
///
/// Owns nothing. Plain values, any thread. Nothing here looks at a disk: io/ fills them in.

#include <compare>
#include <cstdint>
#include <string>

namespace longshore {

/// What stat says of a file. Whoever replaces or rewrites the file changes at least one of these.
struct file_identity {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t size_bytes = 0;
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;

  friend auto operator<=>(const file_identity&, const file_identity&) = default;
};

/// How the bytes of a file are held: read into memory of our own, the same and page-locked as far as the budget goes,
/// mapped from the page cache, or on the device alone. An object is no file at all: a value of a client's own, which is
/// held as one and cannot be read again.
enum class hold_mode : uint8_t { owned, pinned, mapped, device, object };

/// Which memory that is, and so whose limit it counts under.
enum class tier : uint8_t { host, device };
inline constexpr tier both_tiers[] = {tier::host, tier::device};

constexpr tier tier_of(hold_mode hold) { return hold == hold_mode::device ? tier::device : tier::host; }

/// One file and how to hold it. Compared without the path: hard links and symlinks lead to the same bytes.
struct file_source {
  std::string path;          ///< of an object: the key that it was put under
  file_identity identity{};  ///< of an object: its size, and a number that no other has
  hold_mode hold = hold_mode::owned;
  bool any_hold =
      false;  ///< of a request: the hold is a preference, and a file held otherwise in the same tier is as good
  bool host_copy = false;  ///< of a request for the device: come by way of pinned host memory, and leave a copy there
  std::string cast_to{};   ///< what its float tensors become on their way to memory; empty: they stay as they are

  /// Whether a file that is held as `held` is what this asks for.
  bool is_satisfied_by(const file_source& held) const {
    const bool pinned_is_owned_too = hold == hold_mode::owned && held.hold == hold_mode::pinned;
    const bool any_will_do = any_hold && tier_of(hold) == tier_of(held.hold) && held.hold != hold_mode::object;
    return identity == held.identity && cast_to == held.cast_to &&
           (hold == held.hold || pinned_is_owned_too || any_will_do);
  }

  friend bool operator==(const file_source& a, const file_source& b) {
    return a.identity == b.identity && a.hold == b.hold && a.cast_to == b.cast_to;
  }
  friend std::strong_ordering operator<=>(const file_source& a, const file_source& b) {
    if (auto order = a.identity <=> b.identity; order != 0)
      return order;
    if (auto order = a.hold <=> b.hold; order != 0)
      return order;
    return a.cast_to <=> b.cast_to;
  }
};

}  // namespace longshore
