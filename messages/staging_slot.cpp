#include <caf/actor.hpp>
#include <caf/actor_cast.hpp>
#include <caf/send.hpp>

#include "messages/slot.hpp"

namespace longshore {

staging_slot::~staging_slot() {
  memory_.reset();  // before the stager hears of it: what it then frees must be free
  if (auto stager = caf::actor_cast<caf::actor>(stager_))
    caf::anon_send(stager, slot_returned{number_});
}

}  // namespace longshore
