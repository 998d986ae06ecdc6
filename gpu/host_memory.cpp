#include "gpu/host_memory.hpp"

#include <algorithm>
#include <cassert>
#include <new>

#include <unistd.h>

#include "io/read_engine.hpp"

namespace longshore {
namespace {

constexpr auto alignment = device::alignment_bytes;

unexpected refused(const char* what) { return unexpected(error{.code = errc::bad_argument, .what = what}); }

}  // namespace

void peak_bytes::add(uint64_t bytes) {
  now += bytes;
  most = std::max(most, now);
}

void host_memory::deleter::operator()(std::byte* data) const { ::operator delete(data, std::align_val_t{alignment}); }

host_memory::host_memory(uint64_t capacity_bytes, uint64_t ready_bytes)
    : capacity_bytes_(capacity_bytes), pool_(arena_pool::make(~uint64_t{0}, capacity_bytes)) {
  if (ready_bytes == 0)
    return;
  if (const auto ready = pool_->acquire(std::min(ready_bytes, capacity_bytes)))
    touch_pages(ready->data(), ready->size_bytes());
}

/// Without an address where the system has no memory.
host_memory::block host_memory::bring(uint64_t size_bytes) {
  block made{.small = {}, .large = {}, .size_bytes = size_bytes};
  if (size_bytes >= arena_pool::granule_bytes) {
    made.large = pool_->acquire(size_bytes).value_or(arena{});
    if (pool_->mapped_bytes() > capacity_bytes_ + (blocks_.size() + 1) * arena_pool::granule_bytes)
      pool_->give_back_idle();  // nothing idle fitted, and what is fresh has taken no memory so far
  } else {
    made.small.reset(static_cast<std::byte*>(::operator new(size_bytes, std::align_val_t{alignment}, std::nothrow)));
  }
  return made;
}

expected<device_address> host_memory::allocate(uint64_t bytes) {
  const std::lock_guard guard{mutex_};
  const auto free_bytes = capacity_bytes_ - allocated_.now;
  const auto size_bytes = (std::max<uint64_t>(bytes, 1) + alignment - 1) / alignment * alignment;
  if (bytes > free_bytes || size_bytes > free_bytes)
    return unexpected(error{.code = errc::out_of_budget,
                            .what = "the device is " + std::to_string(std::max(bytes, size_bytes) - free_bytes) +
                                    " bytes short of an allocation of " + std::to_string(bytes) + ", with " +
                                    std::to_string(free_bytes) + " of " + std::to_string(capacity_bytes_) + " free"});
  auto made = bring(size_bytes);
  if (made.data() == nullptr)
    return unexpected(error{.code = errc::out_of_budget,
                            .what = "the system has no " + std::to_string(size_bytes) + " bytes for the device"});
  const auto address = reinterpret_cast<device_address>(made.data());
  blocks_.emplace(address, std::move(made));
  allocated_.add(size_bytes);
  return address;
}

bool host_memory::free(device_address address) {
  const std::lock_guard guard{mutex_};
  const auto found = blocks_.find(address);
  if (found == blocks_.end())
    return false;
  allocated_.now -= found->second.size_bytes;
  blocks_.erase(found);
  return true;
}

bool host_memory::holds(device_address address, uint64_t bytes) const {
  const std::lock_guard guard{mutex_};
  auto at = blocks_.upper_bound(address);
  if (at == blocks_.begin())
    return false;
  --at;
  const auto within_bytes = address - at->first;
  return within_bytes <= at->second.size_bytes && bytes <= at->second.size_bytes - within_bytes;
}

peak_bytes host_memory::allocated() const {
  const std::lock_guard guard{mutex_};
  return allocated_;
}

std::map<uintptr_t, host_registrations::range>::iterator host_registrations::first_that_ends_behind(uintptr_t address) {
  auto at = ranges_.upper_bound(address);
  if (at != ranges_.begin() && std::prev(at)->second.end > address)
    --at;
  return at;
}

expected<void> host_registrations::add(const std::byte* address, uint64_t bytes) {
  static const auto page_bytes = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(address);
  if (begin == 0 || bytes == 0 || begin % page_bytes != 0 || bytes % page_bytes != 0 || begin + bytes < begin)
    return refused("host memory is registered in whole pages");
  const std::lock_guard guard{mutex_};
  const auto next = first_that_ends_behind(begin);
  if (next != ranges_.end() && next->first < begin + bytes)
    return refused("the range overlaps host memory that is registered already");
  ranges_[begin] = {begin + bytes, 0};
  registered_.add(bytes);
  return {};
}

expected<void> host_registrations::remove(const std::byte* address) {
  const std::lock_guard guard{mutex_};
  const auto found = ranges_.find(reinterpret_cast<uintptr_t>(address));
  if (found == ranges_.end())
    return refused("no registered host memory begins there");
  if (found->second.copies_in_flight > 0)
    return refused("copies from or to the registered host memory are still in flight");
  registered_.now -= found->second.end - found->first;
  ranges_.erase(found);
  return {};
}

/// Registered ranges that touch cover a copy together, as they do on CUDA.
host_registrations::stay host_registrations::enter(const std::byte* address, uint64_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(address), end = begin + bytes;
  std::vector<uintptr_t> begins;
  const std::lock_guard guard{mutex_};
  uint64_t covered_bytes = 0;
  for (auto at = first_that_ends_behind(begin); at != ranges_.end() && at->first < end; ++at) {
    covered_bytes += std::min(at->second.end, end) - std::max(at->first, begin);
    begins.push_back(at->first);
    ++at->second.copies_in_flight;
  }
  if (begins.empty())
    return {};
  const auto covered = covered_bytes == bytes ? cover::whole : cover::part;
  return {covered, std::shared_ptr<void>(nullptr, [this, begins = std::move(begins)](void*) { leave(begins); })};
}

void host_registrations::leave(const std::vector<uintptr_t>& begins) {
  const std::lock_guard guard{mutex_};
  for (const auto begin : begins) {
    auto& copies = ranges_.at(begin).copies_in_flight;
    assert(copies > 0);
    --copies;
  }
}

peak_bytes host_registrations::registered() const {
  const std::lock_guard guard{mutex_};
  return registered_;
}

size_t host_registrations::ranges() const {
  const std::lock_guard guard{mutex_};
  return ranges_.size();
}

}  // namespace longshore
