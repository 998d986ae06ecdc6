#pragma once
/// The actor that copies host memory to staging slots: what a device cannot take from where it is.
///
/// Owns nothing. Order: that of the requests, whose number the slots bound. It blocks while it copies, so it has a
/// thread of its own, but in tests, where all runs in one. Cannot fail.

#include <caf/fwd.hpp>

namespace longshore {

caf::actor spawn_host_copier(caf::actor_system& system, bool on_own_thread);

}  // namespace longshore
