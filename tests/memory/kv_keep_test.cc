// Kept pages: mapped from the start, idle or not, until the limit or another server takes them.
#include "gtest/gtest.h"
#include "tests/memory/keeper_fixture.h"

namespace ebb::memory {
namespace {

class KvKeepTest : public KeeperFixture {
 protected:
  // The workspace may need a page.
  void Start(int64_t keep_bytes) {
    options_.keep_bytes = keep_bytes;
    options_.workspaces = {{"workspace.decode", kPage}};
    Make();
    Settle();
  }
  void Wait() {
    for (int i = 0; i < 3; ++i) {
      clock_.Advance(absl::Seconds(10));
      Settle();
    }
  }
};

TEST_F(KvKeepTest, KeptPagesAreMappedAtTheStartAndStay) {
  Start(3 * kPage);
  EXPECT_EQ(Mapped(), 3);
  Want(20);
  Settle();
  EXPECT_EQ(Mapped(), 5);
  memory_->CloseWindow(AccountId::kDecode);
  Wait();
  EXPECT_EQ(Mapped(), 3);
  EXPECT_FALSE(memory_->TakeMiss().has_value());
}

TEST_F(KvKeepTest, KeepingTheWholeLimitLeavesRoomForTheWorkspacesAtTheirLargest) {
  Start(8 * kPage);
  EXPECT_EQ(Mapped(), 7);
  memory_->workspace(0).SetDemand(kPage);
  Want(28);
  Settle();
  EXPECT_EQ(memory_->held_bytes(), 8 * kPage);
  EXPECT_EQ(Mapped(), 7);
  memory_->workspace(0).SetDemand(0);
  memory_->CloseWindow(AccountId::kDecode);
  Wait();
  EXPECT_EQ(Mapped(), 7);
  EXPECT_EQ(device_.fake().call_count(device::VmmCall::kUnmap), 2) << "of the workspace alone";
  EXPECT_FALSE(memory_->TakeMiss().has_value());
}

TEST_F(KvKeepTest, ALoweredLimitTakesThemAndARaisedOneBringsThemBack) {
  Start(6 * kPage);
  memory_->SetLimit(3 * kPage);
  Wait();
  EXPECT_EQ(Mapped(), 2);  // And one for the workspace.
  memory_->SetLimit(0);
  Settle();
  EXPECT_EQ(memory_->held_bytes(), 0);
  memory_->SetLimit(8 * kPage);
  Settle();
  EXPECT_EQ(Mapped(), 6);
}

TEST_F(KvKeepTest, AnotherServersClaimTakesThem) {
  Start(6 * kPage);
  EXPECT_TRUE(memory_->SetLease(6 * kPage, 4 * kPage));
  Wait();
  EXPECT_EQ(Mapped(), 3);
  EXPECT_TRUE(memory_->SetLease(8 * kPage, kUnboundedBytes));
  Settle();
  EXPECT_EQ(Mapped(), 6);
}

TEST_F(KvKeepTest, WhatTheDeviceLacksIsTakenWhenItHasItAndRefusesNobody) {
  device_.fake().SetPeerBytes(96 * kPage);
  Start(6 * kPage);
  EXPECT_EQ(Mapped(), 4);
  EXPECT_EQ(memory_->miss_count(), 0);
  device_.fake().SetPeerBytes(0);
  Wait();
  EXPECT_EQ(Mapped(), 6);
}

}  // namespace
}  // namespace ebb::memory
