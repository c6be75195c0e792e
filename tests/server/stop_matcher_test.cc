#include "server/stop_matcher.h"

#include <string>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "tests/server/test_seed.h"

namespace ebb::server {
namespace {

TEST(StopMatcherTest, HoldsBackWhatMayBecomeAStop) {
  StopMatcher matcher({"END"});
  EXPECT_EQ(matcher.Feed("the E", true), "the ");
  EXPECT_EQ(matcher.Feed("N", true), "");
  EXPECT_EQ(matcher.Feed("T EN", true), "ENT ");
  EXPECT_EQ(matcher.Feed("D of it", true), "");
  ASSERT_NE(matcher.matched(), nullptr);
  EXPECT_EQ(*matcher.matched(), "END");
  EXPECT_EQ(matcher.Feed("more", true), "");
  EXPECT_EQ(matcher.Flush(), "");
}

TEST(StopMatcherTest, FlushGivesWhatWasHeld) {
  StopMatcher matcher({"END"});
  EXPECT_EQ(matcher.Feed("xEN", true), "x");
  EXPECT_EQ(matcher.Flush(), "EN");
  EXPECT_EQ(matcher.matched(), nullptr);
}

TEST(StopMatcherTest, TheFirstToEndWinsAndOfThoseTheLongest) {
  StopMatcher matcher({"bcd", "abcde", "cd", "abcd"});
  EXPECT_EQ(matcher.Feed("xabcde", true), "x");
  EXPECT_EQ(*matcher.matched(), "abcd");
}

TEST(StopMatcherTest, AStopThatMayNotStopIsText) {
  StopMatcher matcher({"aba"});
  EXPECT_EQ(matcher.Feed("xaba", false), "xab");  // The last 'a' may begin another.
  EXPECT_EQ(matcher.Feed("ba", true), "");        // "aba" again, over the border of the pieces.
  EXPECT_NE(matcher.matched(), nullptr);
}

// The obviously right form: tries every stop at every end.
struct Naive {
  std::string shown;
  std::string matched;
};
Naive Search(const std::string& text, size_t may_stop_from, const std::vector<std::string>& stops) {
  for (size_t end = may_stop_from + 1; end <= text.size(); ++end) {
    Naive best;
    for (const std::string& stop : stops) {
      if (stop.size() > end || stop.size() <= best.matched.size()) continue;
      if (text.compare(end - stop.size(), stop.size(), stop) == 0) {
        best = {text.substr(0, end - stop.size()), stop};
      }
    }
    if (!best.matched.empty()) return best;
  }
  return {text, ""};
}

// What may still become (part of) a stop string must not have been shown.
size_t LongestHeld(const std::string& text, const std::vector<std::string>& stops) {
  size_t longest = 0;
  for (const std::string& stop : stops) {
    for (size_t n = 1; n < stop.size() && n <= text.size(); ++n) {
      if (text.compare(text.size() - n, n, stop, 0, n) == 0) longest = std::max(longest, n);
    }
  }
  return longest;
}

TEST(StopMatcherTest, EqualsANaiveSearchHoweverTheTextIsCut) {
  const uint64_t seed = tests::TestSeed();
  for (uint64_t round = 0; round < 20'000; ++round) {
    SCOPED_TRACE(testing::Message() << "SEED=" << seed << " round " << round);
    base::Rng rng(base::RandomBits(seed, round));
    const auto random_text = [&rng](int64_t low, int64_t high) {
      std::string text;
      for (int64_t n = rng.Between(low, high); n > 0; --n) {
        text.push_back(static_cast<char>('a' + rng.Between(0, 2)));
      }
      return text;
    };
    std::vector<std::string> stops;
    for (int64_t n = rng.Between(0, 4); n > 0; --n) stops.push_back(random_text(1, 6));
    const std::string text = random_text(0, 40);
    const auto may_stop_from = static_cast<size_t>(rng.Chance(0.5) ? 0 : rng.Between(0, 20));
    const Naive expected = Search(text, may_stop_from, stops);

    StopMatcher matcher(stops);
    std::string shown;
    for (size_t at = 0; at < text.size() && matcher.matched() == nullptr;) {
      const bool may_stop = at >= may_stop_from;
      size_t bytes = std::min<size_t>(text.size() - at, rng.Between(1, 5));
      if (!may_stop) bytes = std::min(bytes, may_stop_from - at);
      shown += matcher.Feed(text.substr(at, bytes), may_stop);
      at += bytes;
      if (matcher.matched() == nullptr) {
        // No more and no less than needed is held.
        ASSERT_EQ(at - shown.size(), LongestHeld(text.substr(0, at), stops));
      }
    }
    shown += matcher.Flush();
    ASSERT_EQ(shown, expected.shown);
    ASSERT_EQ(matcher.matched() == nullptr ? "" : *matcher.matched(), expected.matched);
  }
}

}  // namespace
}  // namespace ebb::server
