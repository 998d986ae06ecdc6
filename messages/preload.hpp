#pragma once
/// Between whoever wants a list of models in the cache and the preloader.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "messages/cache.hpp"

namespace longshore {

/// One model to preload. Its source was looked up before; one that could not be found brings the reason instead.
struct preload_item {
  get_model request;
  error reason{};  ///< code 0: none
};

/// Asks for all of these, in order, a few at a time. Answered by `preload_done`.
struct preload_models {
  std::vector<preload_item> items;
  size_t at_once = 2;  ///< two keep the disk busy while the other's header is parsed
};

struct preload_outcome {
  model_answer answer;
  uint64_t took_ns = 0;  ///< from asking to the answer
};

/// In the order of the items. The leases end with this message; the models stay in the cache.
struct preload_done {
  std::vector<preload_outcome> outcomes;
};

}  // namespace longshore

LONGSHORE_LOCAL_MESSAGE(preload_models)
LONGSHORE_LOCAL_MESSAGE(preload_done)
