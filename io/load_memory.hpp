#pragma once
/// Where a file's bytes go while it loads: the open file, and the arena or mapping that its chunks end in.
///
/// Owns all three. Shared by pointer with every read in flight, so that no read can outlive its memory. Thread rule:
/// the bytes of a chunk belong to its read until that answered; the rest is immutable. Failure: as arena, mapping and
/// probe.

#include <memory>
#include <span>
#include <thread>
#include <variant>
#include <vector>

#include "io/arena.hpp"
#include "io/held_file.hpp"
#include "io/mapping.hpp"
#include "io/open_model.hpp"
#include "io/read_plan.hpp"

namespace longshore {

/// The chunks of the file's data, direct or buffered by what the page cache holds now; of the options, the alignment
/// and whether direct reads are possible come from the file.
std::vector<chunk> plan_chunks(const opened_file& opened, const plan_options& options);

/// The same, of a range of the file.
std::vector<chunk> plan_range(const opened_file& opened, uint64_t begin_bytes, uint64_t end_bytes,
                              plan_options options);

class load_memory {
public:
  static expected<std::shared_ptr<load_memory>> owned(std::shared_ptr<const opened_file> opened, arena_pool& pool);
  static expected<std::shared_ptr<load_memory>> mapped(std::shared_ptr<const opened_file> opened);

  /// Memory of so many bytes in another layout than the file's: `header` says how its users will see it.
  static expected<std::shared_ptr<load_memory>> laid_out(std::shared_ptr<const opened_file> opened, arena_pool& pool,
                                                         std::shared_ptr<const safetensors_header> header,
                                                         uint64_t size_bytes);

  /// As `plan_chunks` has it.
  std::vector<chunk> plan(plan_options options) const;

  /// Brings the memory of the plan's direct reads in, on a thread of its own, as fast as the system gives it: a virtual
  /// machine may take memory back that is free for a second or two, and be slow to give it again.
  void touch_ahead(const std::vector<chunk>& plan);
  void touch_ahead(std::vector<std::span<std::byte>> ranges);

  /// Whether it is a mapping of what the page cache has already, by a look at samples. Then there is nothing to wait
  /// for: its pages are brought in behind the user's back.
  bool is_at_hand();

  /// Where the chunk's bytes belong, in the file's own layout.
  std::byte* destination(const chunk& c) const { return data() + c.offset_bytes; }

  /// The first byte, and how much memory there is from there on: an arena is whole huge pages.
  std::byte* data() const;
  uint64_t size_bytes() const;

  const model_file& file() const { return opened_->file; }
  const safetensors_header& header() const { return *header_; }
  bool is_mapped() const { return std::holds_alternative<mapping>(bytes_); }

  /// The file as its users will see it. Once, when every chunk is in; afterwards this holds nothing.
  std::shared_ptr<const held_file> finish();

private:
  load_memory(std::shared_ptr<const opened_file> opened, std::shared_ptr<const safetensors_header> header,
              std::variant<arena, mapping> bytes)
      : opened_(std::move(opened)), header_(std::move(header)), bytes_(std::move(bytes)) {}

  std::shared_ptr<const opened_file> opened_;
  std::shared_ptr<const safetensors_header> header_;
  std::variant<arena, mapping> bytes_;
  std::jthread toucher_;  // ends before the memory does
};

}  // namespace longshore
