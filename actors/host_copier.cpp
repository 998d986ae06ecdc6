#include "actors/host_copier.hpp"

#include <cstring>

#include <caf/actor_system.hpp>
#include <caf/send.hpp>

#include "actors/traced_actor.hpp"
#include "messages/host_copy.hpp"

namespace longshore {
namespace {

struct copier_state {
  static constexpr const char* name = "host_copier";
};

using copier_actor = traced_actor<copier_state>;

caf::behavior copier_behavior(copier_actor* self) {
  return {
      [=](copy_bytes& order) {
        span_bytes = order.length_bytes;
        std::memcpy(order.destination, order.source, order.length_bytes);
        order.memory.reset();  // before the holder hears of it: what it then frees must be free
        order.target.reset();
        self->send(caf::actor_cast<caf::actor>(self->current_sender()), bytes_copied{order.index});
      },
  };
}

}  // namespace

caf::actor spawn_host_copier(caf::actor_system& system, bool on_own_thread) {
  return on_own_thread ? system.spawn<caf::detached>(copier_behavior) : system.spawn(copier_behavior);
}

}  // namespace longshore
