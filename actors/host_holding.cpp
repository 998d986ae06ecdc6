#include "actors/host_holding.hpp"

#include <algorithm>
#include <utility>

namespace longshore {
namespace {

unexpected no_word(const file_load& load, const caf::error& lost) {
  return unexpected(
      error{.code = errc::stopped, .what = "no word from the arbiter: " + to_string(lost), .path = load.source.path});
}

void pins_came(const file_load& load, host_holding& holding, size_t segment, const pin_answer& answer) {
  const auto bytes = holding.pins.length_bytes(segment);
  std::shared_ptr<const pinned_range> range;
  if (answer.hold && holding.pins_owed_bytes == 0)
    range = pinned_range::make(load.services.target, holding.data + holding.pins.offset_bytes(segment), bytes,
                               holding.bytes, answer.hold)
                .value_or(nullptr);
  holding.pins_owed_bytes -= answer.hold ? std::min(holding.pins_owed_bytes, bytes) : 0;
  if (range)
    holding.pins.pinned(segment, std::move(range));
  else
    holding.pins.refused(segment);
}

void ask_for_pins(caf::event_based_actor* self, const file_load& load, host_holding& holding, size_t segment,
                  const std::function<void()>& then) {
  const auto timeout = load.services.options.memory_timeout;
  holding.pins.ask(segment);
  const auto came = [=, &load, &holding](const pin_answer& answer) {
    if (load.is_ending())
      return;
    pins_came(load, holding, segment, answer);
    then();
  };
  self->request(load.services.arbiter, timeout + std::chrono::seconds{5},
                pin_request{.account = holding.account,
                            .wanted = {.host_bytes = 0, .pinned_bytes = holding.pins.length_bytes(segment)},
                            .within = holding.bytes->leave,
                            .deadline = timeout})
      .then([=](const pin_answer& answer) { came(answer); }, [=](const caf::error&) { came({}); });
}

void unpin(caf::event_based_actor* self, const file_load& load, host_holding& holding, uint64_t bytes) {
  const auto released = holding.pins.release(bytes);
  if (released < bytes && holding.pins.asks())
    holding.pins_owed_bytes += bytes - released;
  else if (released == 0)
    self->send(load.services.arbiter, decline{holding.account});
}

}  // namespace

bool host_holding::is_in(uint64_t offset_bytes, uint64_t length_bytes) const {
  if (is_ready())
    return true;
  const auto first = std::upper_bound(chunk_ends.begin(), chunk_ends.end(), offset_bytes);
  for (auto i = static_cast<size_t>(first - chunk_ends.begin());
       i < chunk_ends.size() && (i == 0 || chunk_ends[i - 1] < offset_bytes + length_bytes); ++i)
    if (!chunk_is_in[i])
      return false;
  return !chunk_ends.empty();
}

void open_account_for(caf::event_based_actor* self, const file_load& load, host_holding& holding,
                      const std::function<void(const expected<void>&)>& then) {
  const auto& options = load.services.options;
  self->request(load.services.arbiter, options.memory_timeout,
                open_account{{.name = load.source.path,
                              .cls = pin_class::active_model,
                              .leased = true,  // half a model is nothing to take
                              .segment_bytes = options.pin_segment_bytes}})
      .then(
          [=, &holding](const account_opened& opened) {
            holding.account = opened.account;
            then(opened.account == 0 ? unexpected(opened.reason) : expected<void>{});
          },
          [=, &load](const caf::error& lost) { then(no_word(load, lost)); });
}

void ask_for_leave(caf::event_based_actor* self, const file_load& load, const host_holding& holding,
                   const grant_bytes& grant,
                   const std::function<void(const expected<std::shared_ptr<const pin_hold>>&)>& then) {
  if (holding.account == 0)
    return then(nullptr);
  const auto timeout = load.services.options.memory_timeout;
  self->request(load.services.arbiter, timeout + std::chrono::seconds{5},
                pin_request{.account = holding.account,
                            .wanted = {.host_bytes = grant.bytes, .pinned_bytes = 0},
                            .patient = grant.patient,
                            .deadline = timeout})
      .then(
          [=, &load](const pin_answer& answer) {
            if (answer.hold)
              return then(answer.hold);
            auto reason = answer.reason;
            reason.path = load.source.path;
            then(unexpected(std::move(reason)));
          },
          [=, &load](const caf::error& lost) { then(no_word(load, lost)); });
}

void take_memory(const file_load& load, host_holding& holding, std::shared_ptr<const pin_hold> leave,
                 std::shared_ptr<load_memory> memory, std::vector<uint64_t> chunk_ends) {
  holding.data = memory->data();
  holding.chunk_ends = std::move(chunk_ends);
  holding.chunk_is_in.assign(load.plan.size(), false);
  if (load.source.hold == hold_mode::pinned && load.services.target)
    holding.pins = {memory->size_bytes(), load.services.options.pin_segment_bytes};
  holding.bytes = std::make_shared<host_bytes>(host_bytes{std::move(leave), std::move(memory)});
}

void chunk_came_in(caf::event_based_actor* self, const file_load& load, host_holding& holding, size_t index,
                   const std::function<void()>& then) {
  holding.chunk_is_in[index] = true;
  auto& pins = holding.pins;
  const auto begin_bytes = index == 0 ? 0 : holding.chunk_ends[index - 1], end_bytes = holding.chunk_ends[index];
  for (auto i = pins.segment_at(begin_bytes); i < pins.segments() && pins.offset_bytes(i) < end_bytes; ++i)
    if (pins.is_open(i) && holding.is_in(pins.offset_bytes(i), pins.length_bytes(i)))
      ask_for_pins(self, load, holding, i, then);
}

void prefer_ranges(caf::event_based_actor* self, const file_load& load, host_holding& holding, const prefer_pins& order,
                   const std::function<void()>& then) {
  auto& pins = holding.pins;
  if (!holding.is_ready() || pins.segments() == 0)
    return;
  std::vector<bool> wanted(pins.segments());
  for (const auto& range : order.ranges)
    for (auto i = pins.segment_at(range.offset_bytes);
         i < pins.segments() && pins.offset_bytes(i) < range.offset_bytes + range.length_bytes; ++i)
      wanted[i] = true;
  for (auto segment : pins.prefer(wanted))
    ask_for_pins(self, load, holding, segment, then);
}

expected<void> finish_load(caf::event_based_actor* self, file_load& load, host_holding& holding) {
  report_progress(self, load, load_stage::checking);
  if (auto same = load.opened->file.check_unchanged(); !same)
    return same;
  const auto& bytes = holding.bytes;
  load.report.tensors = load.opened->header->tensors.size();
  load.report.pinned_bytes = holding.pins.pinned_bytes();
  bytes->held = bytes->loading->finish();
  bytes->loading.reset();
  load.opened.reset();
  report_progress(self, load, load_stage::ready);
  use_account(self, load, holding, false);
  file_ready ready;
  ready.file = load.file;
  ready.held = std::shared_ptr<const held_file>{bytes, bytes->held.get()};
  ready.report = load.report;
  self->send(load.registry, ready);
  return {};
}

void use_account(caf::event_based_actor* self, const file_load& load, const host_holding& holding, bool leased) {
  if (holding.account != 0)
    self->send(load.services.arbiter,
               account_use{holding.account, leased ? pin_class::active_model : pin_class::inactive_model, leased});
}

void give_back(caf::event_based_actor* self, const file_load& load, host_holding& holding, const pressure& order) {
  if (order.kind == relief_kind::unpin)
    unpin(self, load, holding, order.bytes);
  else
    self->send(load.registry, bytes_asked_back{load.file});
}

}  // namespace longshore
