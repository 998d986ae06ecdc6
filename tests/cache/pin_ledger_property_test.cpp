// Random histories of everything that can happen to a pin ledger, in a world that checks every step
// (pin_ledger_world.hpp). Each is made from its number, so a number in a failure is all that is needed to repeat it.
#include <cstdio>
#include <cstdlib>

#include <gtest/gtest.h>

#include "pin_ledger_world.hpp"

using namespace longshore;

namespace {

/// LONGSHORE_LEDGER_HISTORIES asks for another number of them.
uint64_t history_count() {
  const char* wanted = std::getenv("LONGSHORE_LEDGER_HISTORIES");
  return wanted ? std::strtoull(wanted, nullptr, 10) : 20'000;
}

TEST(pin_ledger_property, any_history_stays_within_both_limits_and_ends_with_nothing_left) {
  pin_tally t;
  for (uint64_t number = 1; number <= history_count(); ++number) {
    pin_world world{number, t};
    world.live();
    world.drain();
    ASSERT_EQ(world.fault(), "") << "in history " << number;
  }
  const std::pair<const char*, uint64_t> happened[] = {
      {"steps", t.steps},
      {"granted", t.granted},
      {"granted after waiting", t.granted_after_waiting},
      {"refused at once", t.refused_at_once},
      {"refused later, as things changed", t.refused_later},
      {"cancelled", t.cancelled},
      {"timed out", t.timed_out},
      {"silent victims", t.silent_victims},
      {"victims that declined", t.declined},
      {"victims that rose and were let off", t.let_off},
      {"asked by outside pressure", t.asked_by_pressure},
      {"partial reliefs", t.partial_reliefs},
      {"reliefs larger than asked", t.larger_reliefs},
      {"reliefs nobody asked for", t.unasked_reliefs},
      {"owners that died while they waited", t.died_waiting},
      {"owners that died while asked", t.died_while_asked},
  };
  std::printf("%llu histories\n", static_cast<unsigned long long>(history_count()));
  for (const auto& [what, times] : happened) {
    std::printf("%12llu %s\n", static_cast<unsigned long long>(times), what);
    EXPECT_GT(times, 100u) << what << ": the histories do not reach this";
  }
}

}  // namespace
