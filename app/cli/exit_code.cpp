#include "app/cli/exit_code.hpp"

namespace longshore {

exit_code exit_code_of(errc code) {
  switch (code) {
    case errc::bad_argument:
    case errc::bad_config:
    case errc::wrong_kind:
      return exit_usage;
    case errc::not_found:
      return exit_not_found;
    case errc::bad_format:
      return exit_bad_format;
    case errc::io_failed:
    case errc::unsupported:
    case errc::changed_on_disk:
      return exit_io_failed;
    case errc::out_of_budget:
      return exit_out_of_budget;
    case errc::mismatch:
      return exit_mismatch;
    case errc::cancelled:
      return exit_interrupted;
    case errc::timed_out:
    case errc::overloaded:
    case errc::stopped:
      return exit_failed;
  }
  return exit_failed;
}

}  // namespace longshore
