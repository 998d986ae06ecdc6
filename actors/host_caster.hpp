#pragma once
/// The actor that casts the weights of files in host memory: puts a chunk where it belongs, each float element as the
/// type that is wanted there.
///
/// Owns nothing. Order: that of the requests, of which holders have few under way at a time. It works for some
/// milliseconds on each, so it has a thread of its own, but in tests, where all runs in one; a runtime has one for each
/// core, up to a few. Failure: a chunk that it reads itself and cannot read is `chunk_failed` with errno and offset.

#include <caf/fwd.hpp>

#include "gpu/host_cast.hpp"

namespace longshore {

caf::actor spawn_host_caster(caf::actor_system& system, bool on_own_thread, piece_reader read = read_piece);

}  // namespace longshore
