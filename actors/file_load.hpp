#pragma once
/// What the two holders of a file (in host memory, on the device) do alike while they load it: open it, plan its
/// chunks, count what comes, tell how far it is, and end in order.
///
/// Owns the state of one load, which is its holder's alone. Not an actor: functions that a holder's handlers call.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <caf/actor.hpp>
#include <caf/event_based_actor.hpp>

#include "actors/model_holder.hpp"
#include "io/open_model.hpp"
#include "messages/chunk.hpp"
#include "messages/load.hpp"

namespace longshore {

struct file_load {
  caf::actor registry;
  holder_services services;
  file_id file = 0;
  file_source source;
  bool urgent = false;
  bool opening = true;
  bool dropping = false;                ///< told to end: answers file_dropped once nothing is held
  error failure;                        ///< the first thing that went wrong; its code is 0 while nothing did
  std::shared_ptr<opened_file> opened;  ///< until the load is over
  std::vector<chunk> plan;
  size_t next_chunk = 0;
  size_t in_flight = 0;
  uint64_t done_bytes = 0;
  uint64_t reported_bytes = 0;
  uint64_t opened_ns = 0;
  load_report report;

  bool has_failed() const { return failure.code != errc{}; }
  bool is_ending() const { return dropping || has_failed(); }
};

void begin_load(caf::event_based_actor* self, file_load& load, const caf::actor& registry, const start_load& order,
                const holder_services& services);

void report_progress(caf::event_based_actor* self, const file_load& load, load_stage stage);

/// The opener's word: what is wrong with the file, or nothing.
std::optional<error> take_opened(file_load& load, const open_result& result);

/// Why a load fails whose partner has ended: reads and copies that it had may never be answered.
error partner_lost(const file_load& load);

/// Why a load fails whose opener has ended without a result; nothing when the result came before.
std::optional<error> opener_lost(file_load& load);

/// How to cut and read a file, or parts of one; `block_bytes`: its alignment for direct reads.
plan_options planning(const holder_options& options, bool is_cast, uint64_t block_bytes = 4096);
plan_options planning(const file_load& load);

/// The wait for memory is over.
void end_wait(file_load& load);

/// A chunk came from the disk: counts it, and leaves the page cache as it was found.
void count_read(file_load& load, const chunk_read& done);

/// The whole file is mapped, and in the page cache: nothing of it needs to be read.
void count_all(file_load& load);

/// A chunk is where it shall be.
void count_done(caf::event_based_actor* self, file_load& load, uint32_t index);

/// The read of a chunk of an open file; whose it is, and where to, is left to fill in.
read_chunk reading(const opened_file& opened, const chunk& what);

void send_read(caf::event_based_actor* self, const file_load& load, uint32_t index, std::byte* destination,
               std::shared_ptr<const void> memory);

/// Why a chunk could not be read. A file that changed is the better explanation for whatever became of its reads.
error reason_of(const opened_file& opened, const std::string& path, const chunk_failed& lost);

/// Says how the load ended without success, and quits. Once nothing is held.
void say_ended(caf::event_based_actor* self, const file_load& load);

}  // namespace longshore
