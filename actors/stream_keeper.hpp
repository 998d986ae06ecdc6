#pragma once
/// The actor that shares the device out between streamed models: who is used takes room from who is not.
///
/// Owns nothing but the order in which streams were used last. A stream for which the device has no room asks here;
/// the others are asked for it, the one used longest ago first; when they have too little, the registry hears of it
/// too, whose copies of whole files go when nobody uses them, but later. When the machine says that the device is
/// short, the streams are asked. Limits: one question at a time, the others wait. Deadlines: each of those asked has
/// `answer_timeout`. Failure: a stream that does not answer is left out; whoever asked hears how much came free, which
/// can be nothing.

#include <chrono>

#include <caf/actor.hpp>
#include <caf/fwd.hpp>

namespace longshore {

struct stream_keeper_options {
  std::chrono::milliseconds answer_timeout = std::chrono::seconds{10};
};

caf::actor spawn_stream_keeper(caf::actor_system& system, const caf::actor& registry,
                               stream_keeper_options options = {});

}  // namespace longshore
