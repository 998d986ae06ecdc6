#include "messages/pin_hold.hpp"

#include <caf/actor.hpp>
#include <caf/actor_cast.hpp>
#include <caf/send.hpp>

#include "messages/pin.hpp"

namespace longshore {

pin_hold::~pin_hold() {
  if (auto arbiter = caf::actor_cast<caf::actor>(arbiter_))
    caf::anon_send(arbiter, relief{account_, bytes_});
}

}  // namespace longshore
