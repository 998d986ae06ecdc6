#include "messages/model_lease.hpp"

#include <caf/actor.hpp>
#include <caf/actor_cast.hpp>
#include <caf/send.hpp>

#include "messages/cache.hpp"

namespace longshore {

model_lease::~model_lease() {
  model_.object.reset();
  model_.device_files.clear();
  model_.files.clear();  // before the registry hears of it: what it then frees must be free
  if (auto registry = caf::actor_cast<caf::actor>(registry_))
    caf::anon_send(registry, return_lease{lease_});
}

}  // namespace longshore
