#pragma once
/// The actor that holds one object of a client's own in the cache: keeps it in the budget, and lets go of it when told.
///
/// Owns a share of the payload. The registry alone gives it orders, see messages/load.hpp for who says what when; the
/// pin arbiter grants the bytes and asks for them back, as it does of a model in host memory. Whoever has the last
/// share, the payload ends first, then its room among the arenas, then the grant: its bytes count until they are free.
/// Deadline: `holder_options::memory_timeout` for the arbiter's answers. Failure: everything ends in `file_failed` or
/// `file_dropped`, once this actor has let go of the payload.

#include <memory>

#include <caf/fwd.hpp>

#include "actors/model_holder.hpp"

namespace longshore {

caf::actor spawn_object_holder(caf::local_actor* registry, const start_load& order, const holder_services& services,
                               std::shared_ptr<const void> payload);

}  // namespace longshore
