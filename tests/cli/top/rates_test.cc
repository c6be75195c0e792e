#include "cli/top/rates.h"

#include <limits>

#include "gtest/gtest.h"
#include "tests/cli/top/samples.h"

namespace ebb::cli {
namespace {

TEST(RatesTest, ArePerSecond) {
  const Rates rates = RatesBetween(CountersOf(BusySample(10)), CountersOf(BusySample(14)));
  EXPECT_EQ(rates.finished, 2);
  EXPECT_EQ(rates.preemptions, 0);
  EXPECT_EQ(rates.prefilled_tokens, 100);
  EXPECT_EQ(rates.completion_tokens, 40);
}

TEST(RatesTest, NothingWhenNoTimeHasPassed) {
  const Counters counters = CountersOf(BusySample(10));
  EXPECT_FALSE(RatesBetween(counters, counters).finished.has_value());
}

// Another process answers: its totals began at zero.
TEST(RatesTest, NothingOverARestart) {
  Sample after = BusySample(12);
  after.server.set_uptime_seconds(0.5);
  EXPECT_TRUE(Restarted(CountersOf(BusySample(10)), CountersOf(after)));
  EXPECT_FALSE(RatesBetween(CountersOf(BusySample(10)), CountersOf(after)).finished.has_value());

  // It has been up longer by now than the old one when it was last seen.
  const Counters young = CountersOf(BusySample(2));
  Sample later = BusySample(100);
  later.server.set_uptime_seconds(50);
  EXPECT_TRUE(Restarted(young, CountersOf(later)));

  // Without an uptime, a total that went back tells it.
  for (int total = 0; total < 4; ++total) {
    Sample before = BusySample(10), behind = BusySample(11);
    before.server.clear_uptime_seconds();
    EXPECT_FALSE(Restarted(CountersOf(before), CountersOf(behind)));
    if (total == 0) behind.server.set_finished_total(1);
    if (total == 1) behind.server.set_preemptions_total(1);
    if (total == 2) behind.server.set_prefilled_tokens_total(1);
    if (total == 3) behind.server.set_completion_tokens_total(1);
    EXPECT_TRUE(Restarted(CountersOf(before), CountersOf(behind))) << total;
  }
}

// The calls that carry the uptime are not all equally slow.
TEST(RatesTest, ADelayedAnswerIsNoRestart) {
  Sample after = BusySample(12);
  after.server.set_uptime_seconds(11.2);
  EXPECT_FALSE(Restarted(CountersOf(BusySample(10)), CountersOf(after)));
}

TEST(RatesTest, AbsentTotalsHaveNoRate) {
  Sample before = BusySample(10), after = BusySample(11);
  before.server.clear_finished_total();
  after.server.clear_prefilled_tokens_total();
  const Rates rates = RatesBetween(CountersOf(before), CountersOf(after));
  EXPECT_FALSE(rates.finished.has_value());
  EXPECT_FALSE(rates.prefilled_tokens.has_value());
  EXPECT_EQ(rates.completion_tokens, 40);
}

TEST(RatesTest, HugeTotalsDoNotOverflow) {
  Sample before = BusySample(10), after = BusySample(11);
  before.server.set_finished_total(std::numeric_limits<int64_t>::min());
  after.server.set_finished_total(std::numeric_limits<int64_t>::max());
  EXPECT_NEAR(*RatesBetween(CountersOf(before), CountersOf(after)).finished, 1.8447e19, 1e15);
}

}  // namespace
}  // namespace ebb::cli
