#pragma once
/// The actor that opens a file and reads its header: blocking work, and so on a thread of its own, for one holder.
///
/// Owns nothing that outlives it. Sends the holder one `open_result` and ends. Failure: stands in that result; one that
/// ends without it found no memory for the header.

#include <caf/actor.hpp>
#include <caf/event_based_actor.hpp>

#include "cache/file_identity.hpp"

namespace longshore {

/// Monitored by the holder. `on_own_thread` is off in tests, where all runs in one thread.
void spawn_file_opener(caf::event_based_actor* holder, const file_source& source, bool on_own_thread);

}  // namespace longshore
