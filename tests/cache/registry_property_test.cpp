// Random histories of everything that can happen to a registry, in a world that checks every step (registry_world.hpp).
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "registry_world.hpp"

using namespace longshore;

namespace {

constexpr uint64_t limit_bytes = 12;

/// A number of the whole range even in RapidCheck's first cases, which by itself would keep them all small.
template <class T>
T from_range(T first, T end) {
  return *rc::gen::resize(rc::kNominalSize, rc::gen::inRange<T>(first, end));
}

/// Few keys and few files, so that requests meet; every third file can be mapped.
get_request any_request() {
  get_request request;
  request.key = std::string(1, from_range('a', 'e'));
  request.kind = *rc::gen::weightedElement<model_kind>({{9, model_kind::ckpt}, {1, model_kind::vae}});
  request.mode = *rc::gen::weightedElement<cache_mode>({{6, cache_mode::automatic},
                                                        {2, cache_mode::override_cache},
                                                        {2, cache_mode::read_only},
                                                        {2, cache_mode::unshared}});
  const auto files = from_range(1, 4);
  for (int i = 0; i < files; ++i) {
    const auto inode = from_range<uint64_t>(1, 6);
    request.files.push_back({"f", {.inode = inode}, inode == 3 ? hold_mode::mapped : hold_mode::owned});
  }
  request.layout_tag = *rc::gen::weightedElement<std::string>({{9, ""}, {1, "other"}});
  request.keep = from_range(0, 10) == 0;
  request.urgent = *rc::gen::arbitrary<bool>();
  return request;
}

put_request any_object() {
  return {.ticket = 0,
          .key = std::string(1, from_range('a', 'e')),
          .kind = *rc::gen::weightedElement<model_kind>({{9, model_kind::ckpt}, {1, model_kind::vae}}),
          .mode = *rc::gen::weightedElement<cache_mode>({{7, cache_mode::automatic},
                                                         {3, cache_mode::override_cache},
                                                         {1, cache_mode::read_only},
                                                         {1, cache_mode::unshared}}),
          .bytes = from_range<uint64_t>(0, limit_bytes + 2),
          .keep = from_range(0, 10) == 0};
}

void one_step(registry_world& world) {
  const auto which = from_range<size_t>(0, 100);
  const auto choice = from_range(0, 100);
  const auto key = std::string(1, from_range('a', 'e'));
  if (choice < 22)
    world.get(any_request());
  else if (choice < 30)
    world.put(any_object());
  else if (choice < 70)
    world.advance(which, from_range<uint64_t>(1, limit_bytes + 2));
  else if (choice < 82)
    world.return_lease(which);
  else if (choice < 86)
    world.give_up(which);
  else if (choice < 89)
    world.break_down(which);
  else if (choice < 92)
    world.deadline(which);
  else if (choice < 94)
    world.remove(key);
  else if (choice < 99)
    world.keep(key, from_range(0, 3) == 0);
  else
    world.clear();
}

void one_history() {
  registry_world world{limit_bytes};
  const auto steps = from_range(1, 80);
  for (int i = 0; i < steps; ++i)
    one_step(world);
  if (from_range(0, 4) == 0)
    world.stop();
  world.drain();
}

// 40 histories a case: RapidCheck runs 100 cases unless told otherwise, and rules that meet rarely need thousands.
RC_GTEST_PROP(registry_property, any_history_keeps_every_promise_and_ends_with_nothing_left, ()) {
  for (int i = 0; i < 40; ++i)
    one_history();
}

}  // namespace
