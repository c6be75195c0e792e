#include "memory/memory_budget.h"

#include <gtest/gtest.h>

namespace ebb::memory {
namespace {

TEST(GrowthBoundsTest, GrowthIsTheLeastOfLimitLeaseAndFree) {
  GrowthBounds bounds{/*limit=*/100, /*held=*/40, /*free=*/90, /*headroom=*/10};
  EXPECT_EQ(bounds.GrowableBytes(), 60);
  EXPECT_EQ(bounds.TightestBound(), Bound::kLimit);
  bounds.free_bytes = 50;
  EXPECT_EQ(bounds.GrowableBytes(), 40);
  EXPECT_EQ(bounds.TightestBound(), Bound::kFree);
  bounds.lease_bytes = 70;
  EXPECT_EQ(bounds.GrowableBytes(), 30);
  EXPECT_EQ(bounds.TightestBound(), Bound::kLease);
}

TEST(GrowthBoundsTest, OverTheLimitIsNegativeButALackOfFreeMemoryOnlyStopsGrowth) {
  GrowthBounds bounds{/*limit=*/100, /*held=*/40, /*free=*/5, /*headroom=*/10};
  EXPECT_EQ(bounds.GrowableBytes(), 0);
  bounds.limit_bytes = 30;
  EXPECT_EQ(bounds.GrowableBytes(), -10);
  bounds.lease_bytes = 15;
  EXPECT_EQ(bounds.GrowableBytes(), -25);
}

TEST(MemoryBudgetTest, CheckAndChargeAreOneOperation) {
  MemoryBudget budget(100, 10);
  budget.SetFree(90);
  EXPECT_FALSE(budget.TryHold(81));
  EXPECT_EQ(budget.held_bytes(), 0);
  EXPECT_TRUE(budget.TryHold(50));
  EXPECT_EQ(budget.bounds().free_bytes, 40);
  EXPECT_FALSE(budget.TryHold(31));
  EXPECT_TRUE(budget.TryHold(30));
  budget.GiveBack(80);
  EXPECT_TRUE(budget.TryHold(80));
  budget.SetLimit(20);
  EXPECT_FALSE(budget.TryHold(0 + 1));
  budget.GiveBack(80);
}

TEST(MemoryBudgetDeathTest, NothingComesBackThatWasNotHeld) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  MemoryBudget budget(100, 0);
  EXPECT_DEATH(budget.GiveBack(1), "CHECK");
}

}  // namespace
}  // namespace ebb::memory
