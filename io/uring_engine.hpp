#pragma once
/// The engine on io_uring: one ring, one thread. See read_engine.hpp for its promises.
///
/// The thread touches a direct read's fresh pages, submits it and reaps what is done, so that page faults run while the
/// disk is busy with the chunks before. Buffered reads and populates are copies by the CPU: the kernel's worker threads
/// take them (IOSQE_ASYNC), at most `copies_at_once(depth)`.

#include <memory>

#include "io/read_engine.hpp"

namespace longshore {

/// Fails with `unsupported` and errno where the system has no io_uring or refuses it.
expected<std::unique_ptr<read_engine>> make_uring_engine(size_t depth, completion_callback on_complete);

}  // namespace longshore
