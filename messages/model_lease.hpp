#pragma once
/// What a user of a model holds: the model's files in memory, or an object of a client's own, which stay until the last
/// copy of this pointer is gone.
///
/// Owns a share of the files, and tells the registry when it ends. Immutable, any thread. A lease outlives its runtime
/// safely: the memory stays, only nobody is told any more.

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <caf/actor_control_block.hpp>

#include "cache/model_kind.hpp"
#include "io/held_file.hpp"
#include "messages/load.hpp"

namespace longshore {

/// The files of a leased model, in its order: 1 to 3 of a text encoder, any number of shards.
struct leased_model {
  std::string key;
  model_kind kind{};
  uint64_t generation = 0;
  std::vector<std::shared_ptr<const held_file>> files{};           ///< those in host memory
  std::vector<std::shared_ptr<const device_file>> device_files{};  ///< those on the device
  /// Of each of `files`, who lends ranges of it (messages/host_copy.hpp); null where it was cast.
  std::vector<caf::weak_actor_ptr> lenders{};
  std::vector<load_report> reports{};    ///< how each file came in
  std::shared_ptr<const void> object{};  ///< the payload of a put; null for a model
};

class model_lease {
public:
  model_lease(leased_model model, uint64_t lease, caf::weak_actor_ptr registry)
      : model_(std::move(model)), lease_(lease), registry_(std::move(registry)) {}
  ~model_lease();
  model_lease(const model_lease&) = delete;
  model_lease& operator=(const model_lease&) = delete;

  const leased_model& model() const { return model_; }

private:
  leased_model model_;
  uint64_t lease_;
  caf::weak_actor_ptr registry_;
};

}  // namespace longshore
