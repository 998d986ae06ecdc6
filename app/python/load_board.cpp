#include "app/python/load_board.hpp"

#include <algorithm>
#include <utility>

namespace longshore::python {

pending_load::pending_load(uint64_t number, const std::vector<file_source>& files) : number_(number) {
  for (const auto& file : files)
    parts_.try_emplace(file.path, file_part{.total_bytes = file.identity.size_bytes});
}

bool pending_load::wait_for(std::chrono::milliseconds time) {
  std::unique_lock lock{mutex_};
  return answered_.wait_for(lock, time, [&] { return result_.has_value(); });
}

load_state pending_load::state() const {
  const std::lock_guard guard{mutex_};
  load_state sum{.stage = parts_.empty() ? load_stage::opening : load_stage::failed};
  for (const auto& [path, part] : parts_) {
    sum.done_bytes += part.done_bytes;
    sum.total_bytes += part.total_bytes;
    sum.stage = std::min(sum.stage, part.stage);
  }
  return sum;
}

void pending_load::answer(expected<loaded> result) {
  const std::lock_guard guard{mutex_};
  if (result)
    for (auto& [path, part] : parts_)
      part = {.total_bytes = part.total_bytes, .done_bytes = part.total_bytes, .stage = load_stage::ready};
  result_ = std::move(result);
  answered_.notify_all();
}

bool pending_load::note(const load_progress& news) {
  const std::lock_guard guard{mutex_};
  const auto found = parts_.find(news.path);
  if (found == parts_.end())
    return false;
  auto& part = found->second;
  part.total_bytes = std::max(part.total_bytes, news.bytes_total);
  part.done_bytes = news.stage == load_stage::ready ? part.total_bytes : news.bytes_done;
  part.stage = news.stage;
  return true;
}

std::shared_ptr<pending_load> load_board::add(const std::vector<file_source>& files, bool tells) {
  const std::lock_guard guard{mutex_};
  auto load = std::make_shared<pending_load>(next_number_++, files);
  loads_.emplace(load->number(), known_load{load, tells});
  return load;
}

void load_board::answer(pending_load& load, expected<loaded> result) {
  load.answer(std::move(result));
  const std::lock_guard guard{mutex_};
  const auto waited = loads_.extract(load.number());
  if (waited.empty() || !waited.mapped().tells)
    return;
  events_.push_back({event_kind::answered, load.number()});
  changed_.notify_all();
}

void load_board::note(const load_progress& news) {
  const std::lock_guard guard{mutex_};
  if (news.stage == load_stage::ready || news.stage == load_stage::failed)
    under_way_.erase(news.file);
  else
    under_way_.insert_or_assign(news.file, news);
  for (auto& [number, known] : loads_) {
    if (!known.load->note(news) || !known.tells || std::exchange(known.load->progress_is_queued, true))
      continue;
    events_.push_back({event_kind::progressed, number});
    changed_.notify_all();
  }
}

std::vector<load_progress> load_board::under_way() const {
  const std::lock_guard guard{mutex_};
  std::vector<load_progress> all;
  for (const auto& [file, news] : under_way_)
    all.push_back(news);
  return all;
}

void load_board::put(event what) {
  const std::lock_guard guard{mutex_};
  events_.push_back(what);
  changed_.notify_all();
}

std::optional<std::vector<event>> load_board::next_events(std::chrono::milliseconds time) {
  std::unique_lock lock{mutex_};
  changed_.wait_for(lock, time, [&] { return closed_ || !events_.empty(); });
  if (closed_ && events_.empty())
    return std::nullopt;
  for (const auto& one : events_)
    if (const auto found = loads_.find(one.number); one.kind == event_kind::progressed && found != loads_.end())
      found->second.load->progress_is_queued = false;
  return std::exchange(events_, {});
}

void load_board::close() {
  const std::lock_guard guard{mutex_};
  closed_ = true;
  changed_.notify_all();
}

}  // namespace longshore::python
