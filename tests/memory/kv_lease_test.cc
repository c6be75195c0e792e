// What a ledger between servers says, and what KvMemory does about it.
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

class KvLeaseTest : public testing::Test {
 protected:
  KvLeaseTest() {
    KvMemory::Options options;
    options.ceiling_bytes = 10 * kPage;
    options.limit_bytes = 8 * kPage;
    const KvGeometry geometry = KvGeometry::Create({2, 16, 1024}, kGranule, 4).value();
    memory_ = KvMemory::Create(geometry, options, device_.vmm()).value();
    keeper_ = std::make_unique<PageKeeper>(PageKeeper::Options{4}, memory_.get(), device_.vmm(),
                                           &clock_, &mutex_);
  }
  ~KvLeaseTest() override { EXPECT_TRUE(keeper_->Shutdown().ok()); }

  // A decode window's boundary, at which so many blocks are wanted.
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
  int32_t Mapped() const { return memory_->pages().count(PageState::kMapped); }

  TestDevice device_{kGranule, 100 * kPage};
  base::FakeClock clock_;
  base::Mutex mutex_;
  std::unique_ptr<KvMemory> memory_;
  std::unique_ptr<PageKeeper> keeper_;
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
