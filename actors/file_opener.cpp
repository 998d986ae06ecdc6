#include "actors/file_opener.hpp"

#include <memory>
#include <utility>

#include "actors/traced_actor.hpp"
#include "messages/load.hpp"

namespace longshore {
namespace {

struct opener_state {
  static constexpr const char* name = "file_opener";
};

}  // namespace

void spawn_file_opener(caf::event_based_actor* holder, const file_source& source, bool on_own_thread) {
  auto opener = [source, to = caf::actor{holder}](traced_actor<opener_state>* self) {
    auto opened = open_model(source);
    auto result =
        opened ? open_result{std::make_shared<opened_file>(std::move(*opened))} : open_result{nullptr, opened.error()};
    self->send(to, std::move(result));
    self->quit();
  };
  if (on_own_thread)
    holder->spawn<caf::detached + caf::monitored>(opener);
  else
    holder->spawn<caf::monitored>(opener);
}

}  // namespace longshore
