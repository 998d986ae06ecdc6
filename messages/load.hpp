#pragma once
/// Between the registry and the holders of files, and to whoever watches their progress.
///
/// The registry's orders are the actions of cache/registry.hpp themselves (`grant_bytes`, `refuse_bytes`, `promote`,
/// `lease_change`, `keep_file`, `cancel_load`, `drop_file`). A holder that starts answers `file_opened`, then waits for
/// its grant; after it come `file_ready` or `file_failed`. After `refuse_bytes`, `cancel_load` or `drop_file` it
/// answers `file_dropped`, once its memory is really free, and ends.

#include <cstdint>
#include <memory>
#include <string>

#include "cache/error.hpp"
#include "cache/registry_types.hpp"
#include "gpu/device_file.hpp"
#include "io/held_file.hpp"
#include "io/open_model.hpp"
#include "messages/local_message.hpp"

namespace longshore {

/// How a file was loaded. Times in ns of the steady clock.
struct load_report {
  std::string path;
  uint64_t tensors = 0;
  uint64_t direct_bytes = 0;
  uint64_t buffered_bytes = 0;  ///< copied out of the page cache
  uint64_t mapped_bytes = 0;
  uint64_t uploaded_bytes = 0;
  uint64_t upload_ns = 0;        ///< from the first copy to the device to the end of the last
  uint64_t host_copy_bytes = 0;  ///< of them, those that came out of a host copy and not from the disk
  uint64_t pinned_bytes = 0;     ///< page-locked when the load was over
  uint64_t waited_for_memory_ns = 0;
};

/// What there is to hold is known; the holder now wants so much memory of its tier (0: mapped).
struct file_opened {
  file_id file = 0;
  uint64_t bytes = 0;
};

struct file_ready {
  file_id file = 0;
  std::shared_ptr<const held_file> held;         ///< null when it is on the device alone
  std::shared_ptr<const device_file> on_device;  ///< null when it is not
  load_report report;
  std::shared_ptr<const void> object{};  ///< null when it is a file
};

/// The load is over and holds nothing any more.
struct file_failed {
  file_id file = 0;
  error reason;
};

struct file_dropped {
  file_id file = 0;
};

/// The pin arbiter wants the memory of this file for others. Answered by `drop_file` or `keep_file`.
struct bytes_asked_back {
  file_id file = 0;
};

/// What the opener of a file found, or, when `file` is null, what is wrong with it.
struct open_result {
  std::shared_ptr<opened_file> file;
  error reason{};
};

enum class load_stage : uint8_t { opening, waiting_for_memory, reading, checking, ready, failed };

/// What a load does or waits for, in words for a person.
constexpr const char* name(load_stage stage) {
  switch (stage) {
    case load_stage::opening:
      return "header";
    case load_stage::waiting_for_memory:
      return "memory";
    case load_stage::reading:
      return "disk";
    case load_stage::checking:
      return "check";
    case load_stage::ready:
      return "ready";
    case load_stage::failed:
      return "failed";
  }
  return "unknown";
}

/// To the runtime's listener, at each stage and about a hundred times while a file is read.
struct load_progress {
  file_id file = 0;
  std::string path;
  load_stage stage{};
  uint64_t bytes_done = 0;
  uint64_t bytes_total = 0;
};

}  // namespace longshore

LONGSHORE_LOCAL_MESSAGE(grant_bytes)
LONGSHORE_LOCAL_MESSAGE(refuse_bytes)
LONGSHORE_LOCAL_MESSAGE(promote)
LONGSHORE_LOCAL_MESSAGE(lease_change)
LONGSHORE_LOCAL_MESSAGE(keep_file)
LONGSHORE_LOCAL_MESSAGE(cancel_load)
LONGSHORE_LOCAL_MESSAGE(drop_file)
LONGSHORE_LOCAL_MESSAGE(file_opened)
LONGSHORE_LOCAL_MESSAGE(file_ready)
LONGSHORE_LOCAL_MESSAGE(file_failed)
LONGSHORE_LOCAL_MESSAGE(file_dropped)
LONGSHORE_LOCAL_MESSAGE(bytes_asked_back)
LONGSHORE_LOCAL_MESSAGE(open_result)
LONGSHORE_LOCAL_MESSAGE(load_progress)
