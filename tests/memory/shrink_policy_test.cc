#include "memory/shrink_policy.h"

#include <gtest/gtest.h>

namespace ebb::memory {
namespace {

const absl::Time kStart = absl::FromUnixSeconds(1000);

ShrinkSettings Settings() {
  ShrinkSettings settings;
  settings.windows_kept = 3;
  settings.slack_pages = 1;
  settings.after = absl::Seconds(2);
  settings.pages_at_once = 2;
  return settings;
}

TEST(ShrinkPolicyTest, KeepsTheLargestDemandOfTheLastWindowsPlusSlack) {
  ShrinkPolicy policy(Settings());
  EXPECT_EQ(policy.keep_pages(), 0);
  for (const int64_t pages : {5, 2, 3}) policy.RecordDemand(pages);
  EXPECT_EQ(policy.keep_pages(), 6);
  policy.RecordDemand(1);
  EXPECT_EQ(policy.keep_pages(), 4);
  policy.Forget();
  EXPECT_EQ(policy.keep_pages(), 0);
}

TEST(ShrinkPolicyTest, WaitsAndThenShrinksAFewPagesAtATime) {
  ShrinkPolicy policy(Settings());
  policy.RecordDemand(1);
  EXPECT_EQ(policy.PagesToShrink(kStart, 7, 0, 0), 0);
  EXPECT_EQ(policy.next_change(), kStart + absl::Seconds(2));
  EXPECT_EQ(policy.PagesToShrink(kStart + absl::Seconds(1.9), 7, 0, 0), 0);
  EXPECT_EQ(policy.PagesToShrink(kStart + absl::Seconds(2), 7, 0, 0), 2);
  // The next ones wait until those are gone, then no longer.
  EXPECT_EQ(policy.PagesToShrink(kStart + absl::Seconds(2), 5, 0, 2), 0);
  EXPECT_EQ(policy.PagesToShrink(kStart + absl::Seconds(2), 5, 0, 0), 2);
  EXPECT_EQ(policy.PagesToShrink(kStart + absl::Seconds(2), 3, 0, 0), 1);
  EXPECT_EQ(policy.PagesToShrink(kStart + absl::Seconds(2), 2, 0, 0), 0);
  EXPECT_EQ(policy.next_change(), absl::InfiniteFuture());
}

TEST(ShrinkPolicyTest, DemandInBetweenStartsTheWaitAnew) {
  ShrinkPolicy policy(Settings());
  EXPECT_EQ(policy.PagesToShrink(kStart, 4, 0, 0), 0);
  EXPECT_EQ(policy.PagesToShrink(kStart + absl::Seconds(1), 4, 4, 0), 0);
  EXPECT_EQ(policy.PagesToShrink(kStart + absl::Seconds(2), 4, 0, 0), 0);
  EXPECT_EQ(policy.PagesToShrink(kStart + absl::Seconds(4), 4, 0, 0), 2);
}

// A square wave whose period is shorter than the wait causes no shrinking at all.
TEST(ShrinkPolicyTest, AFastSquareWaveDoesNotFlap) {
  ShrinkPolicy policy(Settings());
  int64_t shrunk = 0;
  for (int i = 0; i < 1000; ++i) {
    const int64_t demand = i / 10 % 2 == 0 ? 8 : 1;
    policy.RecordDemand(demand);
    shrunk += policy.PagesToShrink(kStart + i * absl::Milliseconds(100), 9, demand, 0);
  }
  EXPECT_EQ(shrunk, 0);
}

}  // namespace
}  // namespace ebb::memory
