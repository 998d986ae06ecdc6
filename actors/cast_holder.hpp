#pragma once
/// The actor that holds one file in host memory with its float tensors cast to another type: has each chunk read and
/// cast to where it stays. For files as they are see actors/model_holder.hpp.
///
/// Owns the bytes while it lives, under the same orders, accounts and pins as a model holder. What the page cache has,
/// a caster takes from there block by block: no scratch memory, and one pass. Everything else is read into a slot of
/// scratch memory first, and where there is none for even one slot it comes through the page cache after all.
/// Limits: at most `credits` chunks under way, of those that a caster reads itself two a caster. Failure: everything
/// ends in `file_failed` or `file_dropped`, sent once nothing is held and no read or cast is under way; a reader,
/// stager or caster that dies fails the load.

#include <caf/actor.hpp>
#include <caf/fwd.hpp>

#include "actors/model_holder.hpp"
#include "cache/registry_types.hpp"

namespace longshore {

caf::actor spawn_cast_holder(caf::local_actor* registry, const start_load& order, const holder_services& services);

}  // namespace longshore
