#include "actors/host_caster.hpp"

#include <optional>
#include <utility>

#include <caf/actor_system.hpp>
#include <caf/send.hpp>

#include "actors/traced_actor.hpp"
#include "messages/cast.hpp"
#include "messages/chunk.hpp"

namespace longshore {
namespace {

struct caster_state {
  static constexpr const char* name = "host_caster";
};

using caster_actor = traced_actor<caster_state>;

std::optional<read_fault> carry_out(const cast_chunk& order, const piece_reader& read) {
  if (order.source == nullptr)
    return order.how->put_from_file(order.fd, order.what, order.destination, read);
  order.how->put(order.source, order.what, order.destination);
  return std::nullopt;
}

caf::behavior caster_behavior(caster_actor* self, piece_reader read) {
  return {
      [=, read = std::move(read)](cast_chunk& order) {
        span_bytes = order.what.own_bytes();
        const auto fault = carry_out(order, read);
        order.memory.reset();  // before the holder hears of it: what it then frees must be free
        order.target.reset();
        const auto holder = caf::actor_cast<caf::actor>(self->current_sender());
        if (fault)
          self->send(holder, chunk_failed{order.load, order.index, fault->os_error, fault->offset_bytes});
        else
          self->send(holder, chunk_cast{order.load, order.index});
      },
  };
}

}  // namespace

caf::actor spawn_host_caster(caf::actor_system& system, bool on_own_thread, piece_reader read) {
  return on_own_thread ? system.spawn<caf::detached>(caster_behavior, std::move(read))
                       : system.spawn(caster_behavior, std::move(read));
}

}  // namespace longshore
