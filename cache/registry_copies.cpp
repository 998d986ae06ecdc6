// Files in host memory that files for the device are made from, and what is kept for that alone.
#include <algorithm>

#include "cache/registry.hpp"

namespace longshore {

/// The newest file in host memory with these bytes, there or on its way. Where there is none and one is wanted, a new
/// one; 0 when the disk shall do.
file_id registry::host_copy_for(const file_source& source, const get_request& request, file_id oldest_allowed,
                                actions& out) {
  for (auto hold : {hold_mode::pinned, hold_mode::owned}) {
    const auto found = usable_.find({.path = {}, .identity = source.identity, .hold = hold});
    if (found == usable_.end() || *found->second.rbegin() < oldest_allowed)
      continue;
    const auto copy = *found->second.rbegin();
    files_.at(copy).spare = files_.at(copy).spare || source.host_copy;
    return copy;
  }
  if (!source.host_copy)
    return 0;
  const auto copy = next_file_++;
  const file_source wanted{.path = source.path, .identity = source.identity, .hold = hold_mode::pinned};
  usable_[wanted].insert(copy);
  files_.emplace(copy, held_file{.source = wanted, .urgent = request.urgent, .spare = true});
  out.push_back(start_load{.file = copy, .source = wanted, .urgent = request.urgent});
  return copy;
}

/// The device's file is complete, or gone: its host copy may go too, if nothing else keeps it.
void registry::stop_feeding(file_id on_device, actions& out) {
  const auto from = files_.at(on_device).host_copy;
  auto* copy = find_file(from);
  if (!copy)
    return;
  copy->feeding.erase(on_device);
  drop_if_unused(from, out);
}

/// Its holder is gone. An unfinished spare that nothing is made from any more is no use to anybody.
void registry::forget_file(file_id file, actions& out) {
  if (auto* copy = find_file(files_.at(file).host_copy);
      copy && copy->state != file_state::ready && copy->feeding == std::set{file})
    copy->spare = false;
  stop_feeding(file, out);
  ledger_of(file).release(file);
  files_.erase(file);
  for (auto& [id, other] : files_)
    if (other.host_copy == file)
      other.host_copy = 0;
}

void registry::forget_spare(file_id file, actions& out) {
  auto* held = find_file(file);
  if (!held)
    return;
  held->spare = false;
  drop_if_unused(file, out);
}

void registry::forget_spares(actions& out) {
  std::vector<file_id> spares;
  for (const auto& [id, file] : files_)
    if (file.spare)
      spares.push_back(id);
  for (auto id : spares)
    forget_spare(id, out);
}

}  // namespace longshore
