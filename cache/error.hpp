#pragma once
/// What can go wrong, as a type. Every function of the core that can fail returns `expected<T>`.
///
/// Owns nothing. An error says in `what` a sentence for a person, and where: the file, the byte offset in it, the
/// tensor or JSON pointer, and the system's errno where one was behind it.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <tl/expected.hpp>

namespace longshore {

enum class errc : uint8_t {
  bad_argument = 1,  ///< the caller asked for something that makes no sense
  not_found,         ///< no such file, key or tensor
  bad_format,        ///< a file breaks the rules of its format
  bad_config,        ///< a configuration file has a wrong value
  io_failed,         ///< the system could not read or write
  changed_on_disk,   ///< a file is not the one that the load began with
  out_of_budget,     ///< does not fit the memory limit
  cancelled,         ///< whoever asked gave up
  timed_out,         ///< a deadline passed
  unsupported,       ///< this machine or build cannot do it
  wrong_kind,        ///< the key holds a model of another kind
  overloaded,        ///< a bounded queue is full; asking again later makes sense
  mismatch,          ///< bytes differ from the digests they were checked against
  stopped,           ///< the runtime is shutting down
};

/// The code's name as it stands in JSON output and in messages, for example "bad_format".
std::string_view name(errc code);

struct error {
  errc code{};
  std::string what;                        ///< one sentence, no trailing full stop
  std::string path{};                      ///< the file, or empty
  std::optional<uint64_t> offset_bytes{};  ///< position in that file
  std::string where{};                     ///< tensor name or JSON pointer, or empty
  int os_error = 0;                        ///< errno, or 0

  friend bool operator==(const error&, const error&) = default;
};

/// One line: what, then file, offset, place and errno, as far as they are known.
std::string to_text(const error& e);

template <class T>
using expected = tl::expected<T, error>;
using unexpected = tl::unexpected<error>;

}  // namespace longshore
