#pragma once
/// What the program's exit status says. Documented in `longshore --help`; scripts rely on it. Owns nothing.

#include "cache/error.hpp"

namespace longshore {

enum exit_code : int {
  exit_ok = 0,
  exit_failed = 1,         ///< something else
  exit_usage = 2,          ///< the command line or the configuration is wrong
  exit_not_found = 3,      ///< no such file or model
  exit_bad_format = 4,     ///< a file breaks its format
  exit_io_failed = 5,      ///< reading or writing failed, or the file changed meanwhile
  exit_out_of_budget = 6,  ///< does not fit the memory limit
  exit_mismatch = 7,       ///< bytes differ from their digests
  exit_interrupted = 130,  ///< Ctrl-C or SIGTERM
};

exit_code exit_code_of(errc code);

}  // namespace longshore
