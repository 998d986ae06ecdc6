#include "io/faulty_engine.hpp"

#include <algorithm>
#include <mutex>
#include <unordered_map>

namespace longshore {
namespace {

/// Where to flip a byte when a request comes back. Written by the submitter, read by the engine's thread.
class corruptions {
public:
  void add(uint64_t tag, std::byte* where) {
    const std::lock_guard guard{mutex_};
    where_[tag] = where;
  }

  void apply(uint64_t tag) {
    const std::lock_guard guard{mutex_};
    if (auto found = where_.extract(tag))
      *found.mapped() ^= std::byte{0xff};
  }

private:
  std::mutex mutex_;
  std::unordered_map<uint64_t, std::byte*> where_;
};

class faulty_engine final : public read_engine {
public:
  faulty_engine(std::unique_ptr<read_engine> inner, std::shared_ptr<corruptions> flips, fault_script script,
                completion_callback on_complete)
      : flips_(std::move(flips)),
        script_(std::move(script)),
        on_complete_(std::move(on_complete)),
        inner_(std::move(inner)) {}

  void submit(const read_request& request) override {
    auto changed = request;
    const auto what = script_(request, number_++);
    if (const auto* failing = std::get_if<failing_read>(&what))
      return on_complete_({request.tag, -failing->os_error});
    if (const auto* shorter = std::get_if<short_read>(&what))
      changed.length_bytes = std::min(request.length_bytes, shorter->length_bytes);
    if (changed.length_bytes == 0)
      return on_complete_({request.tag, 0});
    if (const auto* corrupt = std::get_if<corrupt_read>(&what))
      flips_->add(request.tag, request.destination + corrupt->at_bytes);
    if (const auto* hook = std::get_if<called_back>(&what))
      hook->before();
    inner_->submit(changed);
  }

  size_t depth() const override { return inner_->depth(); }
  std::string_view name() const override { return inner_->name(); }

private:
  std::shared_ptr<corruptions> flips_;
  fault_script script_;
  completion_callback on_complete_;
  uint64_t number_ = 0;
  std::unique_ptr<read_engine> inner_;
};

}  // namespace

expected<std::unique_ptr<read_engine>> make_faulty_engine(const engine_options& inner, fault_script script,
                                                          completion_callback on_complete) {
  auto flips = std::make_shared<corruptions>();
  auto engine = make_read_engine(inner, [flips, on_complete](const read_completion& c) {
    flips->apply(c.tag);
    on_complete(c);
  });
  if (!engine)
    return engine;
  return std::make_unique<faulty_engine>(std::move(*engine), std::move(flips), std::move(script),
                                         std::move(on_complete));
}

}  // namespace longshore
