#include "io/load_memory.hpp"

#include "io/page_cache.hpp"

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

std::shared_ptr<const held_file> load_memory::finish() {
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
