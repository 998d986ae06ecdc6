// One test a rule of objects, which to most rules are files like others, and of the counters.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "registry_fixture.hpp"

using namespace longshore;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

namespace {

class object_rules : public registry_rules {
protected:
  static put_request object(const std::string& key, uint64_t bytes, cache_mode mode = {}) {
    static ticket_id next = 1'000'000;
    return {.ticket = next++, .key = key, .kind = model_kind::ckpt, .mode = mode, .bytes = bytes};
  }

  file_id start(const put_request& wanted) { return files_of<start_load>(cache.put(wanted)).at(0); }
  using registry_rules::start;

  /// Puts an object to the end; the lease stays out.
  complete put(const put_request& wanted) {
    const auto answers = bring_in(start(wanted), wanted.bytes);
    return pick<complete>(answers).at(0);
  }
  file_id put_idle(const put_request& wanted) {
    const auto answer = put(wanted);
    cache.lease_returned(answer.lease);
    return answer.files.at(0);
  }

  errc refusal(const put_request& wanted) { return pick<fail>(cache.put(wanted)).at(0).reason.code; }
};

TEST_F(object_rules, an_object_is_put_and_found_under_its_key) {
  auto wanted = object("latent", 30);
  wanted.keep = true;
  const auto order = pick<start_load>(cache.put(wanted)).at(0);
  EXPECT_EQ(order.source.path, "latent");
  EXPECT_EQ(order.source.hold, hold_mode::object);
  EXPECT_EQ(order.source.identity.size_bytes, 30u);
  EXPECT_EQ(files_of<grant_bytes>(cache.file_opened(order.file, 30)), std::vector{order.file});
  const auto given = pick<complete>(cache.file_ready(order.file)).at(0);
  EXPECT_EQ(given.ticket, wanted.ticket);
  EXPECT_FALSE(given.hit);
  const auto found = pick<complete>(cache.get(look_up("latent"))).at(0);
  EXPECT_TRUE(found.hit);
  EXPECT_EQ(found.files, given.files);
  const auto shown = cache.list().at(0);
  EXPECT_EQ(shown.hold, hold_mode::object);
  EXPECT_EQ(shown.size_bytes, 30u);
  EXPECT_EQ(shown.reserved_bytes, 30u);
  EXPECT_TRUE(shown.kept);
  load("model", 1, 10);
  EXPECT_EQ(cache.list().at(1).hold, hold_mode::owned);
}

TEST_F(object_rules, each_put_is_an_object_of_its_own_and_moves_the_generation) {
  const auto first = put(object("latent", 10));
  const auto second = put(object("latent", 10));
  EXPECT_NE(first.files, second.files);
  EXPECT_GT(second.generation, first.generation);
  EXPECT_EQ(cache.generation("latent"), second.generation);
  EXPECT_EQ(cache.used_bytes(), 20u) << "the old one is leased";
  EXPECT_EQ(files_of<drop_file>(cache.lease_returned(first.lease)), first.files);
  EXPECT_EQ(pick<complete>(cache.get(look_up("latent"))).at(0).files, second.files);
}

TEST_F(object_rules, of_several_puts_under_way_the_newest_stays) {
  const auto older = start(object("latent", 10)), newer = start(object("latent", 10));
  EXPECT_NE(older, newer) << "a put joins no other";
  bring_in(newer, 10);
  const auto late = pick<complete>(bring_in(older, 10)).at(0);
  EXPECT_EQ(cache.list().at(0).files, std::vector{newer});
  EXPECT_EQ(files_of<drop_file>(cache.lease_returned(late.lease)), std::vector{older});
}

TEST_F(object_rules, models_and_objects_take_each_others_keys) {
  const auto model = load_idle("a", 1, 10);
  EXPECT_EQ(files_of<drop_file>(bring_in(start(object("a", 10)), 10)), std::vector{model});
  EXPECT_EQ(cache.list().at(0).hold, hold_mode::object);
  load("a", 1, 10);
  EXPECT_EQ(cache.list().at(0).hold, hold_mode::owned);
}

TEST_F(object_rules, no_request_for_a_file_is_satisfied_by_an_object) {
  const auto held = start(object("latent", 10));
  bring_in(held, 10);
  file_source alike{"/models/x", {.inode = held, .size_bytes = 10}, hold_mode::owned};
  alike.any_hold = true;
  EXPECT_THAT(files_of<start_load>(cache.get(request("latent", {alike}))), SizeIs(1));
  EXPECT_THAT(files_of<start_load>(cache.get(request("other", {alike}))), IsEmpty()) << "shares the file alone";
}

TEST_F(object_rules, a_read_only_request_waits_for_a_put_under_way) {
  const auto file = start(object("latent", 10));
  EXPECT_THAT(cache.get(look_up("latent")), IsEmpty());
  EXPECT_THAT(pick<complete>(bring_in(file, 10)), SizeIs(2));
}

TEST_F(object_rules, what_makes_no_sense_is_refused) {
  EXPECT_EQ(refusal(object("", 10)), errc::bad_argument);
  EXPECT_EQ(refusal(object("latent", 10, cache_mode::read_only)), errc::bad_argument);
  EXPECT_EQ(refusal(object("latent", 10, cache_mode::unshared)), errc::bad_argument);
  const auto by_hand = request("latent", {source(1), source(2, hold_mode::object)});
  EXPECT_EQ(pick<fail>(cache.get(by_hand)).at(0).reason.code, errc::bad_argument);
  EXPECT_EQ(cache.file_count(), 0u);
  cache.stop();
  EXPECT_EQ(refusal(object("latent", 10)), errc::stopped);
}

TEST_F(object_rules, a_put_keeps_to_the_kind_of_its_key_unless_in_override) {
  load("a", 1, 10);
  auto other = object("a", 10);
  other.kind = model_kind::data;
  EXPECT_EQ(refusal(other), errc::wrong_kind);
  other.ticket += 500'000;
  other.mode = cache_mode::override_cache;
  EXPECT_EQ(put(other).kind, model_kind::data);
}

TEST_F(object_rules, an_object_of_no_bytes_needs_no_room) {
  load("full", 1, 100);
  EXPECT_EQ(put(object("flag", 0)).key, "flag");
  EXPECT_EQ(cache.used_bytes(), 100u);
  EXPECT_EQ(cache.list().at(0).reserved_bytes, 0u);
}

TEST_F(object_rules, objects_and_models_are_evicted_in_order_of_their_use) {
  const auto first = put_idle(object("first", 30));
  load_idle("model", 1, 30);
  const auto second = put_idle(object("second", 30));
  cache.lease_returned(pick<complete>(cache.get(look_up("second"))).at(0).lease);
  const auto before = cache.generation("first");
  EXPECT_EQ(files_of<drop_file>(cache.file_opened(start(request("b", {source(2)})), 40)), std::vector{first});
  EXPECT_THAT(keys(), ElementsAre("model", "second"));
  EXPECT_GT(cache.generation("first"), before);
  cache.file_dropped(first);
  EXPECT_THAT(files_of<drop_file>(cache.file_opened(start(object("c", 60)), 60)), SizeIs(2));
  EXPECT_THAT(keys(), IsEmpty());
  cache.file_dropped(second);
}

TEST_F(object_rules, a_leased_or_kept_object_stays_when_it_is_asked_back) {
  const auto leased = put(object("leased", 10));
  const auto file = leased.files.at(0);
  EXPECT_EQ(files_of<keep_file>(cache.asked_back(file)), std::vector{file});
  cache.lease_returned(leased.lease);
  EXPECT_TRUE(cache.keep("leased", true));
  EXPECT_EQ(files_of<keep_file>(cache.asked_back(file)), std::vector{file});
  EXPECT_TRUE(cache.keep("leased", false));
  EXPECT_EQ(files_of<drop_file>(cache.asked_back(file)), std::vector{file});
  EXPECT_THAT(keys(), IsEmpty());
}

TEST_F(object_rules, refusals_name_the_object_and_who_is_in_the_way) {
  const auto file = start(object("large", 101));
  auto reason = pick<fail>(cache.file_opened(file, 101)).at(0).reason;
  EXPECT_EQ(reason.code, errc::out_of_budget);
  EXPECT_EQ(reason.what, "'large' needs 101 bytes of memory, 1 bytes more than the limit of 100 bytes");
  EXPECT_EQ(reason.path, "") << "it is no file";
  auto kept = object("kept", 60);
  kept.keep = true;
  put_idle(kept);
  reason = pick<fail>(cache.file_opened(start(object("b", 50)), 50)).at(0).reason;
  EXPECT_EQ(reason.code, errc::out_of_budget);
  EXPECT_THAT(reason.what, HasSubstr("'kept' (kept) with 60 bytes"));
}

TEST_F(object_rules, a_removed_object_that_is_leased_is_still_named) {
  put(object("latent", 60));
  EXPECT_TRUE(cache.remove("latent"));
  const auto waiting = start(object("b", 50));
  cache.file_opened(waiting, 50);
  const auto reason = pick<fail>(cache.reservation_deadline(waiting)).at(0).reason;
  EXPECT_THAT(reason.what, HasSubstr("latent (in use) with 60 bytes"));
}

TEST_F(object_rules, remove_clear_and_stop_take_objects_like_models) {
  const auto a = put_idle(object("a", 10)), b = put_idle(object("b", 10)), c = put_idle(object("c", 10));
  EXPECT_EQ(files_of<drop_file>(*cache.remove("a")), std::vector{a});
  EXPECT_THAT(files_of<drop_file>(cache.clear()), ElementsAre(b, c));
  const auto leased = put(object("leased", 10));
  const auto idle = put_idle(object("idle", 10));
  const auto under_way = start(object("under way", 10));
  const auto answers = cache.stop();
  EXPECT_EQ(files_of<drop_file>(answers), std::vector{idle});
  EXPECT_EQ(files_of<cancel_load>(answers), std::vector{under_way});
  EXPECT_EQ(files_of<drop_file>(cache.lease_returned(leased.lease)), leased.files);
}

// Counters

TEST_F(object_rules, counts_tell_hits_from_misses) {
  load("a", 1, 10);
  EXPECT_EQ(cache.counts().misses, 1u);
  const auto joined = request("b", {source(2)});
  const auto file = start(joined);
  cache.get(request("b", {source(2)}));
  bring_in(file, 10);
  EXPECT_EQ(cache.counts().misses, 2u) << "who joins a load is no second miss";
  EXPECT_EQ(cache.counts().hits, 0u);
  cache.get(request("a", {source(1)}));
  cache.get(look_up("a"));
  cache.get(request("another key", {source(1)}));
  EXPECT_EQ(cache.counts().hits, 3u);
  cache.get(look_up("nothing"));
  cache.get(request("a", {source(1)}, cache_mode::override_cache));
  EXPECT_EQ(cache.counts().misses, 4u);
  EXPECT_EQ(cache.counts().puts, 0u);
}

TEST_F(object_rules, counts_know_evictions_from_other_ends) {
  put_idle(object("a", 30));
  load_idle("b", 1, 30);
  cache.get(request("c", {source(1)}));  // one file, two keys
  put_idle(object("d", 30));
  cache.remove("d");
  put_idle(object("a", 10));
  cache.file_failed(cache.list().at(1).files.at(0), {errc::stopped, "its holder died"});
  EXPECT_EQ(cache.counts().evictions, 0u) << "removed, replaced and broken are not evicted";
  EXPECT_EQ(cache.counts().puts, 3u);
  EXPECT_THAT(keys(), ElementsAre("a"));
  cache.asked_back(cache.list().at(0).files.at(0));
  EXPECT_EQ(cache.counts().evictions, 1u);
  load_idle("b", 2, 20);
  cache.lease_returned(pick<complete>(cache.get(request("c", {source(2)}))).at(0).lease);
  cache.shed(tier::host, 1);
  EXPECT_EQ(cache.counts().evictions, 3u) << "both keys of the file";
  put_idle(object("e", 10));
  cache.clear();
  EXPECT_EQ(cache.counts().evictions, 3u);
}

TEST_F(object_rules, counts_know_failures_from_requests_that_were_given_up) {
  const auto given_up = object("a", 10);
  cache.put(given_up);
  cache.give_up(given_up.ticket);
  EXPECT_EQ(cache.counts().failures, 0u);
  cache.file_opened(start(object("large", 101)), 101);
  cache.file_failed(start(request("broken", {source(1)})), {errc::io_failed, "cannot read"});
  EXPECT_EQ(cache.counts().failures, 2u);
  EXPECT_EQ(cache.counts().puts, 2u);
  EXPECT_EQ(cache.counts().misses, 1u);
}

}  // namespace
