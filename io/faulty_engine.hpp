#pragma once
/// An engine that lies on demand, around either real one: for faults that no disk gives when a test wants them.
///
/// Owns the engine within. For each request it asks the script, which sees the request and its number (from 0), what
/// shall go wrong. Promises and thread rule as in read_engine.hpp, but a fault without a read is reported from within
/// `submit`, on its thread.

#include <functional>
#include <memory>
#include <variant>

#include "io/read_engine.hpp"

namespace longshore {

struct no_fault {};
struct short_read {
  uint64_t length_bytes;  ///< reads only so many
};
struct failing_read {
  int os_error;
};
struct corrupt_read {
  uint64_t at_bytes;  ///< this byte of the result is flipped
};
struct called_back {
  std::function<void()>
      before;  ///< runs on the submitting thread, then the read goes ahead: to change the file under it
};
using fault = std::variant<no_fault, short_read, failing_read, corrupt_read, called_back>;
using fault_script = std::function<fault(const read_request& request, uint64_t number)>;

expected<std::unique_ptr<read_engine>> make_faulty_engine(const engine_options& inner, fault_script script,
                                                          completion_callback on_complete);

}  // namespace longshore
