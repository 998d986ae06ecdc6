#include "cache/pressure_rule.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace longshore {
namespace {

const memory_level* find(const std::vector<memory_level>& levels, const std::string& name) {
  const auto found =
      std::find_if(levels.begin(), levels.end(), [&](const memory_level& level) { return level.name == name; });
  return found == levels.end() ? nullptr : &*found;
}

/// The average falls slowly; stalls that are over by now count no more.
bool stalls(const memory_level& now, const memory_level& before, double share) {
  return now.stall && before.stall && now.stall->share >= share && now.stall->total_us > before.stall->total_us;
}

bool met_a_limit(const memory_level& now, const memory_level& before) {
  return now.events && before.events &&
         (now.events->high > before.events->high || now.events->max > before.events->max);
}

bool ran_out(const memory_level& now, const memory_level& before) {
  return now.events && before.events && now.events->oom > before.events->oom;
}

std::string mib(uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

}  // namespace

pressure_marks marks_of(uint64_t limit_bytes, const pressure_settings& settings) {
  const auto usual = std::max(settings.min_low_bytes, limit_bytes / 100 * settings.low_percent);
  const auto low = std::min(usual, limit_bytes / 8);
  return {.low_bytes = low, .soft_bytes = low * settings.soft_factor, .slack_bytes = low / 2};
}

pressure_rule::pressure_rule(const pressure_settings& settings) : settings_(settings) {
  assert(settings.low_percent <= 100);
  assert(settings.soft_factor >= 1 && settings.soft_factor <= 7);  // with the slack less than the limit
}

pressure_wishes pressure_rule::judge(memory_sample sample, std::chrono::milliseconds passed) {
  shortage worst, of_device;
  for (const auto& level : sample.host)
    if (auto one = shortage_of(level, find(before_.host, level.name)); one.wanted_bytes > worst.wanted_bytes)
      worst = std::move(one);
  if (sample.device)
    of_device = shortage_of(*sample.device, before_.device ? &*before_.device : nullptr);
  const auto* asked_level = asked_of_host_ ? find(sample.host, asked_of_host_->what.level) : nullptr;
  pressure_wishes wishes{
      .host = wish(worst, asked_level, asked_of_host_, passed),
      .device = wish(of_device, sample.device ? &*sample.device : nullptr, asked_of_device_, passed)};
  before_ = std::move(sample);
  return wishes;
}

pressure_rule::shortage pressure_rule::shortage_of(const memory_level& level, const memory_level* before) const {
  const auto marks = marks_of(level.limit_bytes, settings_);
  const bool out = before && ran_out(level, *before);
  const bool stalled = before && stalls(level, *before, settings_.stall_share);
  const bool strained = out || stalled || (before && met_a_limit(level, *before));
  const auto mark = strained ? marks.soft_bytes : marks.low_bytes;
  const auto available = level.available_bytes;
  if (available >= mark && !out)
    return {};
  const auto lack = available < mark ? mark + marks.slack_bytes - available : marks.slack_bytes;
  std::string why = level.name + ": " + mib(available) + " available of " + mib(level.limit_bytes);
  if (strained)
    why +=
        out ? ", and it ran out of memory" : (stalled ? ", and tasks stand still for it" : ", and the limit was met");
  return {.level = level.name,
          .wanted_bytes = lack + level.over_bytes,
          .aim_bytes = available + lack,
          .why = std::move(why)};
}

pressure_wish pressure_rule::wish(const shortage& worst, const memory_level* asked_level, std::optional<request>& asked,
                                  std::chrono::milliseconds passed) const {
  if (asked)
    asked->ago += passed;
  const bool has_come = asked_level && asked && asked_level->available_bytes >= asked->what.aim_bytes;
  if (asked && (has_come || asked->ago >= settings_.repeat_after))
    asked.reset();
  if (worst.wanted_bytes == 0)
    return {};
  if (asked && worst.wanted_bytes <= asked->what.wanted_bytes + asked->what.wanted_bytes / 4)
    return {};
  asked = request{.what = worst, .ago = {}};
  return {.wanted_bytes = worst.wanted_bytes, .why = worst.why};
}

}  // namespace longshore
