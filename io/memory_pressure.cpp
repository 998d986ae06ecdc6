#include "io/memory_pressure.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "io/system_file.hpp"

namespace longshore {
namespace {

/// What a source told; where it makes no sense, the sample says so once.
template <class T>
std::optional<T> told(expected<std::optional<T>> found, memory_sample& sample) {
  if (found)
    return std::move(*found);
  if (sample.problem.code == errc{})
    sample.problem = std::move(found.error());
  return std::nullopt;
}

/// The number behind "key=", which may have a fraction.
std::optional<double> value_after(std::string_view word, std::string_view key) {
  double value = 0;
  if (!word.starts_with(key))
    return std::nullopt;
  const auto digits = word.substr(key.size());
  const auto [end, problem] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, std::chars_format::fixed);
  const bool is_number = problem == std::errc{} && end == digits.data() + digits.size() && value >= 0;
  return is_number ? std::optional(value) : std::nullopt;
}

/// A line such as "some avg10=1.52 avg60=0.20 avg300=0.03 total=3981313", in percent and microseconds.
expected<std::optional<memory_stall>> stall_in(const std::string& path) {
  const auto text = read_if_there(path);
  if (!text)
    return unexpected(text.error());
  if (!*text)
    return std::nullopt;
  const auto parts = line_of(**text, "some");
  const auto percent = parts.size() == 5 ? value_after(parts[1], "avg10=") : std::nullopt;
  const auto total_us =
      parts.size() == 5 && parts[4].starts_with("total=") ? to_number(parts[4].substr(6)) : std::nullopt;
  if (!percent || *percent > 100 || !total_us)
    return unexpected(error{errc::bad_format, "is no pressure stall information", path});
  return memory_stall{*percent / 100, *total_us};
}

/// The sum of what these lines of a file say; nothing where there is no such file, or none of the lines.
expected<std::optional<uint64_t>> sum_of(const std::string& path, const std::vector<std::string_view>& first_words) {
  const auto text = read_if_there(path);
  if (!text)
    return unexpected(text.error());
  const auto content = text->value_or("");
  std::optional<uint64_t> sum;
  for (const auto first_word : first_words) {
    const auto number = number_of(content, first_word, path);
    if (!number)
      return unexpected(number.error());
    if (*number)
      sum = sum.value_or(0) + **number;
  }
  return sum;
}

expected<std::optional<memory_events>> events_of_v2(const cgroup_folder& cgroup) {
  const auto path = cgroup.file("memory.events");
  const auto text = read_if_there(path);
  if (!text)
    return unexpected(text.error());
  if (!*text)
    return std::nullopt;
  memory_events events;
  for (const auto& [first_word, counter] : {std::pair{"high", &events.high}, std::pair{"max", &events.max},
                                            std::pair{"oom", &events.oom}, std::pair{"oom_kill", &events.oom}}) {
    const auto number = number_of(**text, first_word, path);
    if (!number)
      return unexpected(number.error());
    *counter += number->value_or(0);
  }
  return events;
}

expected<std::optional<memory_events>> events_of_v1(const cgroup_folder& cgroup) {
  const auto held_back = number_in(cgroup.file("memory.failcnt"));
  if (!held_back)
    return unexpected(held_back.error());
  const auto killed = sum_of(cgroup.file("memory.oom_control"), {"oom_kill"});
  if (!killed)
    return unexpected(killed.error());
  if (!*held_back && !*killed)
    return std::nullopt;
  return memory_events{.high = 0, .max = held_back->value_or(0), .oom = killed->value_or(0)};
}

/// The lowest limit that the cgroup itself sets.
std::optional<uint64_t> limit_of(const cgroup_folder& cgroup, memory_sample& sample) {
  if (!cgroup.is_v2)
    return told(number_in(cgroup.file("memory.limit_in_bytes")), sample);
  const auto max = told(number_in(cgroup.file("memory.max")), sample);
  const auto high = told(number_in(cgroup.file("memory.high")), sample);
  return max && high ? std::min(*max, *high) : (max ? max : high);
}

/// What is used for good: the kernel gives the rest back when it is short of memory.
std::optional<uint64_t> used_of(const cgroup_folder& cgroup, memory_sample& sample) {
  const auto all = told(number_in(cgroup.file(cgroup.is_v2 ? "memory.current" : "memory.usage_in_bytes")), sample);
  const auto reclaimable =
      told(cgroup.is_v2 ? sum_of(cgroup.file("memory.stat"), {"inactive_file", "active_file", "slab_reclaimable"})
                        : sum_of(cgroup.file("memory.stat"), {"total_inactive_file", "total_active_file"}),
           sample);
  if (!all || !reclaimable)
    return std::nullopt;
  return *all - std::min(*all, *reclaimable);
}

void add_cgroup(const cgroup_folder& cgroup, uint64_t machine_bytes, memory_sample& sample) {
  const auto limit = limit_of(cgroup, sample);
  if (!limit || *limit >= machine_bytes)
    return;
  const auto used = used_of(cgroup, sample);
  if (!used)
    return;
  sample.host.push_back({.name = cgroup.title(),
                         .limit_bytes = *limit,
                         .available_bytes = *limit - std::min(*limit, *used),
                         .over_bytes = *used - std::min(*limit, *used),
                         .stall = cgroup.is_v2 ? told(stall_in(cgroup.file("memory.pressure")), sample) : std::nullopt,
                         .events = told(cgroup.is_v2 ? events_of_v2(cgroup) : events_of_v1(cgroup), sample)});
}

}  // namespace

expected<memory_pressure_source> memory_pressure_source::find(const std::string& root) {
  auto cgroups = own_memory_cgroups(root);
  if (!cgroups)
    return unexpected(cgroups.error());
  return memory_pressure_source{root, std::move(*cgroups)};
}

memory_sample memory_pressure_source::sample() const {
  memory_sample now;
  const auto machine = told(machine_memory_of(root_), now);
  if (machine && machine->available_bytes)
    now.host.push_back({.name = "physical memory",
                        .limit_bytes = machine->total_bytes,
                        .available_bytes = *machine->available_bytes,
                        .stall = told(stall_in(below(root_, "proc/pressure/memory")), now),
                        .events = std::nullopt});
  // v1 says by a huge number that there is no limit; where the machine's own is unknown, no real one is above this.
  const auto machine_bytes = machine ? machine->total_bytes : uint64_t{1} << 62;
  for (const auto& cgroup : cgroups_)
    add_cgroup(cgroup, machine_bytes, now);
  return now;
}

}  // namespace longshore
