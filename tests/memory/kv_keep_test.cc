// Kept pages: mapped from the start, idle or not, until the limit or another server takes them.
#include <memory>

#include "base/clock_fake.h"
#include "base/mutex.h"
#include "device/vmm_fake.h"
#include "gtest/gtest.h"
#include "memory/kv_memory.h"
#include "memory/page_keeper.h"
#include "tests/memory/test_device.h"

namespace ebb::memory {
namespace {

constexpr int64_t kGranule = 4096;
constexpr int64_t kPage = 2 * kGranule;  // 4 blocks of 16 tokens.

class KvKeepTest : public testing::Test {
 protected:
  ~KvKeepTest() override { EXPECT_TRUE(keeper_->Shutdown().ok()); }

  // Room for 8 pages of 10, one of which the workspace may need.
  void Start(int64_t keep_bytes) {
    KvMemory::Options options;
    options.ceiling_bytes = 10 * kPage;
    options.limit_bytes = 8 * kPage;
    options.keep_bytes = keep_bytes;
    options.workspaces = {{"workspace.decode", kPage}};
    const KvGeometry geometry = KvGeometry::Create({2, 16, 1024}, kGranule, 4).value();
    memory_ = KvMemory::Create(geometry, options, device_.vmm()).value();
    keeper_ = std::make_unique<PageKeeper>(PageKeeper::Options{4}, memory_.get(), device_.vmm(),
                                           &clock_, &mutex_);
    Settle();
  }
  void Want(int64_t blocks) {
    memory_->OnBoundary();
    WindowPlan plan;
    plan.grant_blocks = blocks;
    memory_->OpenWindow(AccountId::kDecode, plan);
  }
  void Settle() {
    for (int passes = 0; passes < 1000; ++passes) {
      if (!keeper_->RunOnce().progressed) return;
    }
    ADD_FAILURE() << "the keeper finds no rest";
  }
  void Wait() {
    for (int i = 0; i < 3; ++i) {
      clock_.Advance(absl::Seconds(10));
      Settle();
    }
  }
  int32_t Mapped() const { return memory_->pages().count(PageState::kMapped); }

  TestDevice device_{kGranule, 100 * kPage};
  base::FakeClock clock_;
  base::Mutex mutex_;
  std::unique_ptr<KvMemory> memory_;
  std::unique_ptr<PageKeeper> keeper_;
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
