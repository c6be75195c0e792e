// What a ledger between servers says, and what KvMemory does about it.
#include "gtest/gtest.h"
#include "tests/memory/keeper_fixture.h"

namespace ebb::memory {
namespace {

class KvLeaseTest : public KeeperFixture {
 protected:
  KvLeaseTest() { Make(); }
};

TEST_F(KvLeaseTest, NothingGrowsBeyondTheLeaseAndALargerOneIsUsedAtOnce) {
  EXPECT_FALSE(memory_->SetLease(2 * kPage, kUnboundedBytes)) << "less than before";
  Want(16);
  Settle();
  EXPECT_EQ(Mapped(), 2);
  EXPECT_EQ(memory_->TakeMiss()->bound, Bound::kLease);
  EXPECT_TRUE(memory_->SetLease(4 * kPage, kUnboundedBytes));
  Settle();  // No time has passed: the last refusal is none any more.
  EXPECT_EQ(Mapped(), 4);
  EXPECT_EQ(memory_->limit_state().limit_bytes, 8 * kPage);
}

TEST_F(KvLeaseTest, WhatMayBeKeptIsALimitBesideTheOperators) {
  Want(16);
  Settle();
  EXPECT_TRUE(memory_->SetLease(4 * kPage, 2 * kPage));
  Settle();
  EXPECT_EQ(Mapped(), 4) << "the window is open";
  EXPECT_TRUE(memory_->limit_state().pending);
  EXPECT_EQ(memory_->limit_state().limit_bytes, 8 * kPage) << "the operator's has not changed";
  Want(8);
  Settle();
  EXPECT_EQ(Mapped(), 2);
  // The operator's still counts, whichever is less.
  memory_->SetLimit(kPage);
  Want(4);
  Settle();
  EXPECT_EQ(Mapped(), 1);
  memory_->SetLimit(6 * kPage);
  Want(16);
  Settle();
  EXPECT_EQ(Mapped(), 2);
  EXPECT_TRUE(memory_->SetLease(4 * kPage, kUnboundedBytes));
  clock_.Advance(absl::Seconds(1));
  Settle();
  EXPECT_EQ(Mapped(), 4);
}

}  // namespace
}  // namespace ebb::memory
