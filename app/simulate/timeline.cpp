#include "app/simulate/timeline.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "app/cli/terminal.hpp"

namespace longshore {
namespace {

using std::chrono::nanoseconds;

constexpr size_t most_label_columns = 24;
constexpr size_t tick_columns = 10;

constexpr auto legend =
    ". waits   = loads   # is used   - stays in the cache   x is evicted   ! is refused\n"
    "disk and link: tenths of the time that they move bytes; memory: tenths of its limit; # is all of it\n";

char glyph(model_state state) {
  switch (state) {
    case model_state::absent:
      return ' ';
    case model_state::waiting:
      return '.';
    case model_state::reading:
      return '=';
    case model_state::used:
      return '#';
    case model_state::cached:
      return '-';
  }
  return '?';
}

char glyph(double share) {
  const auto tenths = std::lround(share * 10);
  if (tenths >= 10)
    return '#';
  return tenths > 0 ? static_cast<char>('0' + tenths) : share > 0 ? '.' : ' ';
}

class picture {
public:
  picture(const scenario& what, const simulation_result& result, size_t columns)
      : what_(what), result_(result), columns_(columns) {}

  std::string text() {
    add_lines();
    size_t label_columns = 0;
    for (const auto& [label, bar] : lines_)
      label_columns = std::max(label_columns, label.size());
    auto text = std::string(label_columns + 1, ' ') + axis() + '\n';
    for (const auto& [label, bar] : lines_) {
      auto line = label + std::string(label_columns + 1 - label.size(), ' ') + bar;
      line.erase(line.find_last_not_of(' ') + 1);
      text += line + '\n';
    }
    return text + legend;
  }

private:
  /// The time at a column's begin.
  nanoseconds begin_of(size_t column) const {
    const auto share = static_cast<double>(column) / static_cast<double>(width_);
    return nanoseconds{std::llround(share * static_cast<double>(result_.end.count()))};
  }

  size_t column_of(nanoseconds at) const {
    if (result_.end.count() == 0)
      return 0;
    const auto share = static_cast<double>(at.count()) / static_cast<double>(result_.end.count());
    return std::min(width_ - 1, static_cast<size_t>(share * static_cast<double>(width_)));
  }

  void add_lines() {
    std::vector<std::string> labels;
    for (const auto& history : result_.histories)
      labels.push_back(label_of(history));
    size_t longest = std::string_view("device memory").size();
    for (const auto& label : labels)
      longest = std::max(longest, label.size());
    width_ = std::max(columns_, longest + 2 * tick_columns) - longest - 1;
    for (size_t i = 0; i < labels.size(); ++i)
      lines_.emplace_back(labels[i], bar_of(result_.histories[i]));
    const auto& machine = what_.machine;
    lines_.emplace_back("disk", bar_of(result_.reads));
    if (machine.device_capacity_bytes > 0)
      lines_.emplace_back("link", bar_of(result_.uploads));
    lines_.emplace_back("host memory", bar_of(&simulated_memory::host_bytes, machine.host_limit_bytes));
    if (machine.device_capacity_bytes == 0)
      return;
    lines_.emplace_back("page-locked", bar_of(&simulated_memory::pinned_bytes, machine.pin_budget_bytes));
    lines_.emplace_back("device memory", bar_of(&simulated_memory::device_bytes, machine.device_capacity_bytes));
  }

  std::string label_of(const model_history& history) const {
    auto label = what_.models[history.model].name;
    const std::string where = std::string(" ") + name(history.hold);
    if (label.size() + where.size() > most_label_columns)
      label = label.substr(0, most_label_columns - where.size() - 1) + "~";
    return label + where;
  }

  /// In each column what the model was for most of its time, and over that what happened to it once.
  std::string bar_of(const model_history& history) const {
    std::vector<std::array<nanoseconds, 5>> shares(width_);
    for (size_t i = 0; i < history.changes.size(); ++i) {
      const auto begin = history.changes[i].at;
      const auto end = i + 1 < history.changes.size() ? history.changes[i + 1].at : result_.end;
      for (auto c = column_of(begin); c <= column_of(end); ++c)
        shares[c][static_cast<size_t>(history.changes[i].state)] += overlap(c, {begin, end});
    }
    std::string bar;
    for (const auto& of_column : shares)
      bar += glyph(static_cast<model_state>(std::ranges::max_element(of_column) - of_column.begin()));
    for (const auto at : history.evictions)
      bar[column_of(at)] = 'x';
    for (const auto at : history.refusals)
      bar[column_of(at)] = '!';
    return bar;
  }

  std::string bar_of(const std::vector<transfer>& all) const {
    std::vector<nanoseconds> busy(width_);
    for (const auto& one : all)
      for (auto c = column_of(one.when.begin); c <= column_of(one.when.end); ++c)
        busy[c] += overlap(c, one.when);
    std::string bar;
    for (size_t c = 0; c < width_; ++c) {
      const auto whole = begin_of(c + 1) - begin_of(c);
      bar +=
          glyph(whole.count() == 0 ? 0.0 : static_cast<double>(busy[c].count()) / static_cast<double>(whole.count()));
    }
    return bar;
  }

  /// The most of it in each column.
  std::string bar_of(uint64_t simulated_memory::* part, uint64_t limit_bytes) const {
    std::vector<uint64_t> most(width_);
    for (size_t i = 0; i < result_.memory.size(); ++i) {
      const auto& [at, memory] = result_.memory[i];
      const auto end = i + 1 < result_.memory.size() ? result_.memory[i + 1].at : result_.end;
      for (auto c = column_of(at); c <= column_of(end); ++c)
        if (end > begin_of(c) || at == end)
          most[c] = std::max(most[c], memory.*part);
    }
    std::string bar;
    for (const auto bytes : most)
      bar += glyph(limit_bytes == 0 ? 0.0 : static_cast<double>(bytes) / static_cast<double>(limit_bytes));
    return bar;
  }

  nanoseconds overlap(size_t column, const simulated_span& span) const {
    return std::max(nanoseconds{0}, std::min(begin_of(column + 1), span.end) - std::max(begin_of(column), span.begin));
  }

  std::string axis() const {
    const auto whole_s = std::chrono::duration<double>(result_.end).count();
    const auto digits = whole_s >= 1000 ? 0 : whole_s >= 10 ? 1 : whole_s >= 1 ? 2 : 4;
    std::string text;
    for (size_t c = 0; c + tick_columns <= width_; c += tick_columns) {
      text.resize(c, ' ');
      const auto at_s = std::chrono::duration<double>(begin_of(c)).count();
      text += "|" + (c == 0 ? "0 s" : fixed(at_s, digits));
    }
    return text;
  }

  const scenario& what_;
  const simulation_result& result_;
  const size_t columns_;
  size_t width_ = 0;  // of the bars
  std::vector<std::pair<std::string, std::string>> lines_;
};

}  // namespace

std::string timeline_text(const scenario& what, const simulation_result& result, size_t columns) {
  return picture(what, result, columns).text();
}

}  // namespace longshore
