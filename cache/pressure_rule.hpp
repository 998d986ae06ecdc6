#pragma once
/// From how short of memory the machine is to how many bytes shall come back now.
///
/// Owns what was asked for last and the sample before. Pure: no clock, thread, I/O or CAF; the time that passed is
/// told. One thread at a time. Each level (the machine, each cgroup, the device) has a low and a soft mark. Below the
/// low mark bytes are wanted, up to a slack above it, so that what is asked for is much and seldom. Stalls and met
/// limits alone are no shortage, since reading large files through the page cache makes them too: they count below the
/// soft mark, and raise what is wanted to there. A level where nothing was left at all wants the slack, whatever is
/// available. Asked once, the rule is silent until `repeat_after`, unless what was asked for has come and is short
/// again, or a quarter more is wanted than was asked for. Limits: no more is wanted than is used. Failure: none.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "cache/memory_sample.hpp"

namespace longshore {

struct pressure_settings {
  uint64_t min_low_bytes = 256 << 20;
  unsigned low_percent = 3;   ///< of the limit, where that is more; never more than an eighth of it
  unsigned soft_factor = 3;   ///< the soft mark as a multiple of the low one; 1 to 7
  double stall_share = 0.10;  ///< of ten seconds: tasks that stand still so long are short of memory
  std::chrono::milliseconds repeat_after{500};
};

/// What is available of a limit when bytes are wanted, and how much beyond.
struct pressure_marks {
  uint64_t low_bytes = 0;
  uint64_t soft_bytes = 0;
  uint64_t slack_bytes = 0;
};

/// Whoever keeps at least the low mark and the slack of a device free is never asked for any of it.
pressure_marks marks_of(uint64_t limit_bytes, const pressure_settings& settings = {});

/// Bytes that shall come back, and a sentence that says why; 0: none now.
struct pressure_wish {
  uint64_t wanted_bytes = 0;
  std::string why{};
};

struct pressure_wishes {
  pressure_wish host{};
  pressure_wish device{};
};

class pressure_rule {
public:
  explicit pressure_rule(const pressure_settings& settings = {});

  /// The next sample, so long after the one before.
  pressure_wishes judge(memory_sample sample, std::chrono::milliseconds passed);

private:
  /// What a level is short of: the bytes, and how much would then be available.
  struct shortage {
    std::string level;
    uint64_t wanted_bytes = 0;
    uint64_t aim_bytes = 0;
    std::string why;
  };
  /// What was asked for last.
  struct request {
    shortage what;
    std::chrono::milliseconds ago{};
  };

  shortage shortage_of(const memory_level& level, const memory_level* before) const;
  pressure_wish wish(const shortage& worst, const memory_level* asked_level, std::optional<request>& asked,
                     std::chrono::milliseconds passed) const;

  pressure_settings settings_;
  memory_sample before_;
  std::optional<request> asked_of_host_;
  std::optional<request> asked_of_device_;
};

}  // namespace longshore
