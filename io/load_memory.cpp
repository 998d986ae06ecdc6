#include "io/load_memory.hpp"

#include <system_error>
#include <utility>

#include "io/page_cache.hpp"
#include "io/read_engine.hpp"

namespace longshore {

expected<std::shared_ptr<load_memory>> load_memory::owned(std::shared_ptr<const opened_file> opened, arena_pool& pool) {
  const auto size_bytes = opened->file.size_bytes();
  auto header = opened->header;
  return laid_out(std::move(opened), pool, std::move(header), size_bytes);
}

expected<std::shared_ptr<load_memory>> load_memory::laid_out(std::shared_ptr<const opened_file> opened,
                                                             arena_pool& pool,
                                                             std::shared_ptr<const safetensors_header> header,
                                                             uint64_t size_bytes) {
  auto bytes = pool.acquire(size_bytes);
  if (!bytes) {
    auto reason = bytes.error();
    reason.path = opened->file.path();
    return unexpected(std::move(reason));
  }
  return std::shared_ptr<load_memory>(new load_memory(std::move(opened), std::move(header), std::move(*bytes)));
}

expected<std::shared_ptr<load_memory>> load_memory::mapped(std::shared_ptr<const opened_file> opened) {
  auto bytes = mapping::of(opened->file);
  if (!bytes)
    return unexpected(bytes.error());
  auto header = opened->header;
  return std::shared_ptr<load_memory>(new load_memory(std::move(opened), std::move(header), std::move(*bytes)));
}

std::vector<chunk> plan_chunks(const opened_file& opened, const plan_options& options) {
  return plan_range(opened, opened.header->data_begin_bytes, opened.file.size_bytes(), options);
}

std::vector<chunk> plan_range(const opened_file& opened, uint64_t begin_bytes, uint64_t end_bytes,
                              plan_options options) {
  const auto fd = opened.file.fd();
  options.alignment_bytes = opened.file.direct_alignment_bytes();
  options.direct_possible = opened.file.direct_fd() >= 0;
  return plan_reads(begin_bytes, end_bytes, options, [fd](uint64_t offset, uint64_t length) {
    return estimated_resident_bytes(fd, offset, length).value_or(0);  // a probe that fails only costs speed
  });
}

std::vector<chunk> load_memory::plan(plan_options options) const {
  options.mapped = is_mapped();
  return plan_chunks(*opened_, options);
}

void load_memory::touch_ahead(const std::vector<chunk>& plan) {
  std::vector<std::span<std::byte>> ranges;
  for (const auto& c : plan)
    if (c.path == read_path::direct)
      ranges.emplace_back(destination(c), c.length_bytes);
  touch_ahead(std::move(ranges));
}

void load_memory::touch_ahead(std::vector<std::span<std::byte>> ranges) {
  if (ranges.empty())
    return;
  try {
    toucher_ = std::jthread{[ranges = std::move(ranges)](const std::stop_token& stop) {
      for (const auto& range : ranges)
        if (stop.stop_requested() || !populate_pages(range.data(), range.size()))
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
        return std::make_shared<const held_file>(opened_->file.path(), header_, std::move(bytes));
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
