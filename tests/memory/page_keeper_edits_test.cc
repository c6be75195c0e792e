#include <gtest/gtest.h>

#include <memory>

#include "base/clock_fake.h"
#include "base/mutex.h"
#include "device/launch_gate.h"
#include "device/vmm_fake.h"
#include "device/vmm_gated.h"
#include "memory/kv_memory.h"
#include "memory/page_keeper.h"

namespace ebb::memory {
namespace {

using device::VmmCall;

constexpr int64_t kGranule = 4096;
constexpr int64_t kPage = 2 * kGranule;  // 4 blocks of 16 tokens.

// Addresses are edited only behind the closed gate, and it is open for the slow calls, whatever
// fails.
TEST(PageKeeperEditsTest, OnlyEditsOfAddressesHoldWorkBack) {
  base::FakeClock clock;
  base::Mutex mutex;
  device::LaunchGate gate;
  device::FakeVmm device({kGranule, 100 * kPage});
  device::GatedVmm vmm(&device, &gate);
  KvMemory::Options options;
  options.ceiling_bytes = 10 * kPage;
  options.limit_bytes = 8 * kPage;
  const KvGeometry geometry = KvGeometry::Create({2, 16, 1024}, kGranule, 4).value();
  const std::unique_ptr<KvMemory> memory = KvMemory::Create(geometry, options, &vmm).value();
  PageKeeper keeper(PageKeeper::Options{4}, memory.get(), &vmm, &clock, &mutex);
  device.SetBeforeCall([&](VmmCall call) {
    const bool edits =
        call == VmmCall::kMap || call == VmmCall::kSetAccess || call == VmmCall::kUnmap;
    EXPECT_EQ(gate.closed(), edits) << "call " << static_cast<int>(call);
  });
  const auto settle = [&] {
    while (keeper.RunOnce().progressed) {
    }
    EXPECT_FALSE(gate.closed());
  };

  memory->OnBoundary();
  WindowPlan plan;
  plan.grant_blocks = 20;
  memory->OpenWindow(AccountId::kDecode, plan);
  device.FailNth(VmmCall::kSetAccess, 1);
  settle();
  clock.Advance(options.retry_after);
  settle();
  EXPECT_EQ(memory->pages().count(PageState::kMapped), 5);
  device.FailNth(VmmCall::kUnmap, 1);
  memory->CloseWindow(AccountId::kDecode);
  settle();
  clock.Advance(options.idle_after);
  settle();
  EXPECT_EQ(memory->pages().count(PageState::kQuarantined), 1);
  EXPECT_TRUE(keeper.Shutdown().ok());
  EXPECT_EQ(memory->held_bytes(), 0);
  EXPECT_GT(device.call_count(VmmCall::kRelease), 5);
}

}  // namespace
}  // namespace ebb::memory
