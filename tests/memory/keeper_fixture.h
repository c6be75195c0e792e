// A KvMemory with its keeper on a fake device: pages of 4 blocks of 16 tokens.
#pragma once

#include <cstdint>
#include <memory>

#include "base/clock_fake.h"
#include "base/mutex.h"
#include "gtest/gtest.h"
#include "memory/kv_memory.h"
#include "memory/page_keeper.h"
#include "tests/memory/test_device.h"

namespace ebb::memory {

inline constexpr int64_t kGranule = 4096;
inline constexpr int64_t kPage = 2 * kGranule;

class KeeperFixture : public testing::Test {
 protected:
  // Room for 8 pages of 10.
  KeeperFixture() {
    options_.ceiling_bytes = 10 * kPage;
    options_.limit_bytes = 8 * kPage;
  }
  ~KeeperFixture() override {
    if (keeper_ == nullptr) return;
    EXPECT_TRUE(keeper_->Shutdown().ok());
  }

  // Makes the memory from options_.
  void Make() {
    const KvGeometry geometry = KvGeometry::Create({2, 16, 1024}, kGranule, 4).value();
    memory_ = KvMemory::Create(geometry, options_, device_.vmm()).value();
    keeper_ = std::make_unique<PageKeeper>(PageKeeper::Options{4}, memory_.get(), device_.vmm(),
                                           &clock_, &mutex_);
  }
  // A decode window's boundary, at which so many blocks are wanted.
  void Want(int64_t blocks) {
    memory_->OnBoundary();
    WindowPlan plan;
    plan.grant_blocks = blocks;
    memory_->OpenWindow(AccountId::kDecode, plan);
  }
  // Runs the keeper until it has nothing to do.
  PageKeeper::Pass Settle() {
    for (int passes = 0; passes < 1000; ++passes) {
      const PageKeeper::Pass pass = keeper_->RunOnce();
      if (!pass.progressed) return pass;
    }
    ADD_FAILURE() << "the keeper finds no rest";
    return {};
  }
  int32_t Mapped() const { return memory_->pages().count(PageState::kMapped); }

  TestDevice device_{kGranule, 100 * kPage};
  base::FakeClock clock_;
  base::Mutex mutex_;
  KvMemory::Options options_;
  std::unique_ptr<KvMemory> memory_;
  std::unique_ptr<PageKeeper> keeper_;
};

}  // namespace ebb::memory
