#pragma once
/// The engine for systems without io_uring: blocking reads on `depth` threads. See read_engine.hpp for its promises.

#include <memory>

#include "io/read_engine.hpp"

namespace longshore {

expected<std::unique_ptr<read_engine>> make_thread_engine(size_t depth, completion_callback on_complete);

}  // namespace longshore
