#include "io/load_memory.hpp"

#include <algorithm>
#include <iterator>
#include <system_error>

#include "io/page_cache.hpp"
#include "io/read_engine.hpp"

namespace longshore {

expected<std::shared_ptr<load_memory>> load_memory::owned(std::shared_ptr<const opened_file> opened, arena_pool& pool) {
  auto bytes = pool.acquire(opened->file.size_bytes());
  if (!bytes) {
    auto reason = bytes.error();
    reason.path = opened->file.path();
    return unexpected(std::move(reason));
  }
  return std::shared_ptr<load_memory>(new load_memory(std::move(opened), std::move(*bytes)));
}

expected<std::shared_ptr<load_memory>> load_memory::mapped(std::shared_ptr<const opened_file> opened) {
  auto bytes = mapping::of(opened->file);
  if (!bytes)
    return unexpected(bytes.error());
  return std::shared_ptr<load_memory>(new load_memory(std::move(opened), std::move(*bytes)));
}

std::vector<chunk> plan_chunks(const opened_file& opened, plan_options options) {
  const auto fd = opened.file.fd();
  options.alignment_bytes = opened.file.direct_alignment_bytes();
  options.direct_possible = opened.file.direct_fd() >= 0;
  return plan_reads(
      opened.header->data_begin_bytes, opened.file.size_bytes(), options, [fd](uint64_t offset, uint64_t length) {
        return estimated_resident_bytes(fd, offset, length).value_or(0);  // a probe that fails only costs speed
      });
}

std::vector<chunk> load_memory::plan(plan_options options) const {
  options.mapped = is_mapped();
  return plan_chunks(*opened_, options);
}

void load_memory::touch_ahead(const std::vector<chunk>& plan) {
  std::vector<chunk> direct;
  std::copy_if(plan.begin(), plan.end(), std::back_inserter(direct),
               [](const chunk& c) { return c.path == read_path::direct; });
  if (direct.empty())
    return;
  try {
    toucher_ = std::jthread{[this, direct = std::move(direct)](const std::stop_token& stop) {
      for (const auto& c : direct)
        if (stop.stop_requested() || !populate_pages(destination(c), c.length_bytes))
          return;
    }};
  } catch (const std::system_error&) {
    toucher_ = {};  // no thread to be had: the reads bring it in themselves
  }
}

bool load_memory::is_at_hand() {
  auto* mapped = std::get_if<mapping>(&bytes_);
  const auto size = file().size_bytes();
  if (mapped == nullptr || estimated_resident_bytes(file().fd(), 0, size).value_or(0) < size)
    return false;
  mapped->populate_behind();
  return true;
}

std::shared_ptr<const held_file> load_memory::finish() {
  toucher_ = {};
  return std::visit(
      [this](auto& bytes) {
        return std::make_shared<const held_file>(opened_->file.path(), opened_->header, std::move(bytes));
      },
      bytes_);
}

std::byte* load_memory::data() const {
  return std::visit([](const auto& bytes) { return bytes.data(); }, bytes_);
}

uint64_t load_memory::size_bytes() const {
  return std::visit([](const auto& bytes) -> uint64_t { return bytes.size_bytes(); }, bytes_);
}

}  // namespace longshore
