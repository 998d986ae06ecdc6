#include "cache/error.hpp"

#include <cstring>

namespace longshore {

std::string_view name(errc code) {
  switch (code) {
    case errc::bad_argument:
      return "bad_argument";
    case errc::not_found:
      return "not_found";
    case errc::bad_format:
      return "bad_format";
    case errc::bad_config:
      return "bad_config";
    case errc::io_failed:
      return "io_failed";
    case errc::changed_on_disk:
      return "changed_on_disk";
    case errc::out_of_budget:
      return "out_of_budget";
    case errc::cancelled:
      return "cancelled";
    case errc::timed_out:
      return "timed_out";
    case errc::unsupported:
      return "unsupported";
    case errc::wrong_kind:
      return "wrong_kind";
    case errc::overloaded:
      return "overloaded";
    case errc::mismatch:
      return "mismatch";
    case errc::stopped:
      return "stopped";
  }
  return "unknown";
}

std::string to_text(const error& e) {
  std::string text;
  if (!e.path.empty())
    text += e.path + ": ";
  text += e.what;
  if (!e.where.empty())
    text += " (at " + e.where + ")";
  if (e.offset_bytes)
    text += " (byte " + std::to_string(*e.offset_bytes) + ")";
  if (e.os_error != 0)
    text += std::string(": ") + std::strerror(e.os_error);
  return text;
}

}  // namespace longshore
