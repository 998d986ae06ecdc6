#include <utility>

#include <caf/actor.hpp>
#include <caf/actor_cast.hpp>
#include <caf/send.hpp>

#include "messages/stream.hpp"

namespace longshore {

void layer_use::end(std::shared_ptr<const device_event> last_use) {
  const auto to = std::exchange(streamer_, {});
  auto blocks = std::exchange(blocks_, {});
  addresses_.clear();
  if (auto streamer = caf::actor_cast<caf::actor>(to))
    caf::anon_send(streamer, layer_released{layer_, std::move(last_use), std::move(blocks)});
}

}  // namespace longshore
