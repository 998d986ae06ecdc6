#include <caf/actor.hpp>
#include <caf/actor_cast.hpp>
#include <caf/send.hpp>

#include "messages/block.hpp"
#include "messages/pin.hpp"

namespace longshore {
namespace {

template <class Message>
void tell(const caf::weak_actor_ptr& whom, const Message& message) {
  if (auto alive = caf::actor_cast<caf::actor>(whom))
    caf::anon_send(alive, message);
}

}  // namespace

memory_block::~memory_block() {
  const auto account = hold_->account();
  hold_.reset();
  tell(keeper_, block_ended{account});
}

void memory_block::set_active(bool active) const {
  tell(arbiter_, account_use{.account = hold_->account(),
                             .cls = active ? pin_class::active_intermediate : pin_class::inactive_intermediate});
}

void memory_block::decline() const { tell(arbiter_, longshore::decline{hold_->account()}); }

}  // namespace longshore
