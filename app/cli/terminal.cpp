#include "app/cli/terminal.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>

#include <sys/ioctl.h>
#include <unistd.h>

#include "io/trace_ring.hpp"

namespace longshore {
namespace {

bool has_colour() { return std::getenv("NO_COLOR") == nullptr && ::isatty(STDERR_FILENO) == 1; }

void print_line(std::string_view colour, std::string_view label, std::string_view text) {
  const auto paint = has_colour();
  const std::string head =
      paint ? "\x1b[" + std::string(colour) + "m" + std::string(label) + "\x1b[0m" : std::string(label);
  const auto line = "longshore: " + head + std::string(text) + "\n";
  std::fputs(line.c_str(), stderr);
}

size_t terminal_columns() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

bool is_number(const std::string& text) {
  return !text.empty() && (std::isdigit(static_cast<unsigned char>(text[0])) != 0 || text == "-");
}

}  // namespace

std::string fixed(double value, int digits) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

std::string human_bytes(uint64_t bytes) {
  constexpr std::array units{"B", "kB", "MB", "GB", "TB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1000 && unit + 1 < units.size(); ++unit)
    value /= 1000;
  return fixed(value, unit == 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2) + " " + units[unit];
}

std::string human_rate(uint64_t bytes, double seconds) {
  return seconds > 0 ? fixed(static_cast<double>(bytes) / 1e9 / seconds, 2) : "-";
}

std::string table::text() const {
  std::vector<size_t> widths(rows_.front().size(), 0);
  for (const auto& row : rows_)
    for (size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], row[i].size());
  std::string text;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string pad(widths[i] - row[i].size(), ' ');
      line += (i == 0 ? "" : "  ") + (is_number(row[i]) ? pad + row[i] : row[i] + pad);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

void print_json(const json& value) { std::puts(value.dump(2, ' ', false, json::error_handler_t::replace).c_str()); }

void print_error(const error& e) { print_line("31", "error: ", to_text(e)); }
void print_note(std::string_view text) { print_line("0", "", text); }
void print_warning(std::string_view text) { print_line("33", "warning: ", text); }

json to_json(const error& e) {
  json value{{"code", name(e.code)}, {"message", to_text(e)}};
  if (!e.path.empty())
    value["path"] = e.path;
  if (e.offset_bytes)
    value["offset_bytes"] = *e.offset_bytes;
  if (!e.where.empty())
    value["where"] = e.where;
  if (e.os_error != 0)
    value["errno"] = e.os_error;
  return value;
}

progress_lines::progress_lines() : enabled_(::isatty(STDERR_FILENO) == 1) {}

void progress_lines::draw(const std::vector<std::string>& lines) {
  constexpr uint64_t interval_ns = 100'000'000;
  const auto now_ns = trace_now_ns();
  if (!enabled_ || (drawn_ > 0 && now_ns - last_ns_ < interval_ns))
    return;
  last_ns_ = now_ns;
  clear();
  const auto columns = terminal_columns();
  std::string text;
  for (const auto& line : lines)
    text += line.substr(0, columns - 1) + "\n";
  drawn_ = lines.size();
  std::fputs(text.c_str(), stderr);
}

void progress_lines::clear() {
  if (drawn_ > 0)
    std::fprintf(stderr, "\x1b[%zuA\x1b[J", drawn_);
  drawn_ = 0;
}

std::string bar(double share) {
  constexpr size_t width = 20;
  const auto full = static_cast<size_t>(std::clamp(share, 0.0, 1.0) * width);
  return "[" + std::string(full, '#') + std::string(width - full, '.') + "]";
}

}  // namespace longshore
