#pragma once
/// Device memory for layers that come and go: blocks that are used again, so that a pass which repeats allocates
/// nothing.
///
/// Owns the blocks that nobody uses at the moment; users own theirs by pointer. Blocks of a size wait for the next of
/// that size, which is how the layers of real models come. Limit: `limit_bytes` for all blocks, used and idle; idle
/// ones go before it is passed. A block that is given back while copies or uses of it may still be under way counts
/// until nobody points to it, and is idle then. One that is done with, but that someone keeps for reasons of their own,
/// such as a gradient, is theirs to end, and counts no more.
/// Thread rule: one at a time; a block itself may end on any thread. Failure: `out_of_budget` beyond the limit, and
/// what the device says.

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "cache/error.hpp"
#include "gpu/device_event.hpp"

namespace longshore {

class device_block {
public:
  device_block(std::shared_ptr<device> target, device_address address, uint64_t bytes)
      : target_(std::move(target)), address_(address), bytes_(bytes) {}
  ~device_block() { target_->free(address_); }
  device_block(const device_block&) = delete;
  device_block& operator=(const device_block&) = delete;

  device_address address() const { return address_; }
  uint64_t bytes() const { return bytes_; }

private:
  std::shared_ptr<device> target_;
  device_address address_;
  uint64_t bytes_;
};

/// Memory, and what on the device has to be over before it is written to.
struct taken_block {
  std::shared_ptr<const device_block> block{};
  std::vector<std::shared_ptr<const device_event>> after{};
};

class device_blocks {
public:
  device_blocks(std::shared_ptr<device> target, uint64_t limit_bytes)
      : target_(std::move(target)), limit_bytes_(limit_bytes) {}

  static uint64_t rounded(uint64_t bytes) {
    return (bytes + device::alignment_bytes - 1) / device::alignment_bytes * device::alignment_bytes;
  }

  expected<taken_block> take(uint64_t bytes);

  /// Nobody needs what it holds any more, once these are over.
  void give_back(taken_block given);

  /// The same, where all its copies and uses have ended: whoever still points to it keeps it.
  void retire(taken_block done);

  /// Someone who still points to a block that was given back uses it until this is over.
  void used_until(const std::shared_ptr<const device_block>& block, std::shared_ptr<const device_event> last_use);

  /// Idle blocks go until no more than the limit is left, as far as they can by now.
  void set_limit(uint64_t limit_bytes);

  /// What has to be over on the device before the first idle block can be freed, or reused for another size; nothing
  /// where there is none.
  std::vector<std::shared_ptr<const device_event>> next_to_be_over() const;

  /// Frees idle blocks until this many bytes are, or all of those that nothing on the device uses any more.
  uint64_t free_idle(uint64_t bytes);

  uint64_t bytes() const { return bytes_; }  ///< of all blocks, used, kept by others, and idle
  uint64_t idle_bytes() const { return idle_bytes_; }
  uint64_t kept_bytes();  ///< of those that were given back, but that others still point to

private:
  void make_idle(taken_block block);
  void collect();

  std::shared_ptr<device> target_;
  uint64_t limit_bytes_;
  uint64_t bytes_ = 0;
  uint64_t idle_bytes_ = 0;
  std::multimap<uint64_t, taken_block> idle_;  // by size
  std::vector<taken_block> kept_;              // given back, but still pointed to
};

}  // namespace longshore
