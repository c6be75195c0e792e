// The whole of memory on the real host: what is held is what is resident, and threads agree.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/clock_fake.h"
#include "base/mutex.h"
#include "base/rng.h"
#include "device/vmm_host.h"
#include "memory/kv_memory.h"
#include "memory/page_keeper.h"
#include "tests/device/resident_bytes.h"
#include "tests/memory/seed.h"

namespace ebb::memory {
namespace {

using device::ResidentBytes;

constexpr AccountId kDecode = AccountId::kDecode;
constexpr int64_t kMiB = int64_t{1} << 20;

KvMemory::Options Options() {
  KvMemory::Options options;
  options.ceiling_bytes = 96 * kMiB;
  options.limit_bytes = 64 * kMiB;
  options.idle_after = absl::Seconds(5);
  return options;
}

// SmolLM2's pages of 6 MiB.
KvGeometry Geometry() { return KvGeometry::Create({30, 16, 12 * 1024}, 2 * kMiB).value(); }

void Want(KvMemory* memory, int64_t blocks) {
  memory->OnBoundary();
  WindowPlan plan;
  plan.grant_blocks = blocks;
  memory->OpenWindow(kDecode, plan);
}

TEST(KvMemoryHostTest, TheResidentSetFollowsWhatIsHeld) {
  device::HostVmm vmm;
  base::FakeClock clock;
  base::Mutex mutex;
  const std::unique_ptr<KvMemory> memory = KvMemory::Create(Geometry(), Options(), &vmm).value();
  PageKeeper keeper({}, memory.get(), &vmm, &clock, &mutex);
  const auto settle = [&] {
    while (keeper.RunOnce().progressed) {
    }
  };
  const auto resident = [&] { return ResidentBytes(memory->base(), 96 * kMiB); };
  settle();
  EXPECT_EQ(resident(), 0);
  Want(memory.get(), 40);  // 2.5 pages.
  settle();
  EXPECT_EQ(memory->held_bytes(), 18 * kMiB);
  EXPECT_EQ(resident(), 18 * kMiB);

  memory->accounts().TopUp(kDecode);
  BlockTable table = memory->NewTable(kDecode);
  ASSERT_TRUE(table.TryExtendTo(400));
  for (const int32_t index : table.indices()) {
    std::memset(memory->base() + int64_t{index} * 12 * 1024, 1, 12 * 1024);
  }
  table.ShrinkTo(16);
  memory->SetLimit(6 * kMiB);
  Want(memory.get(), 1);
  settle();
  EXPECT_EQ(resident(), 6 * kMiB);
  EXPECT_EQ(memory->base()[0], 1);

  table.ShrinkTo(0);
  memory->CloseWindow(kDecode);
  settle();
  clock.Advance(absl::Seconds(5));
  settle();
  EXPECT_EQ(resident(), 0);
  EXPECT_TRUE(keeper.Shutdown().ok());
}

// A loop and the keeper in threads of their own. The loop writes to every block that it takes and
// reads it back before it returns it: an unmap at the wrong moment faults, a race is for the thread
// sanitizer to see.
TEST(KvMemoryHostTest, ALoopAndTheKeeperRunSideBySide) {
  base::Rng rng(TestSeed(1));
  device::HostVmm vmm;
  base::RealClock clock;
  base::Mutex mutex;
  KvMemory::Options options = Options();
  options.idle_after = absl::ZeroDuration();
  options.shrink.after = absl::ZeroDuration();
  options.shrink.windows_kept = 1;
  const KvGeometry geometry = KvGeometry::Create({2, 16, 1024}, 2 * kMiB, 1024).value();
  const std::unique_ptr<KvMemory> memory = KvMemory::Create(geometry, options, &vmm).value();
  const Readers::Id reader = memory->readers().Add("decode");
  PageKeeper keeper({}, memory.get(), &vmm, &clock, &mutex);
  base::CondVar kept;  // A pass of the keeper is over.
  std::atomic<bool> stop = false;
  std::thread keeping([&] {
    while (!stop) {
      keeper.RunOnce();
      base::MutexLock lock(&mutex);
      kept.SignalAll();
    }
  });
  int64_t written = 0;
  for (int round = 0; round < 300; ++round) {
    BlockTable table = memory->NewTable(kDecode);
    const int64_t blocks = rng.Between(1, 4000);
    uint64_t ticket = 0;
    {
      base::MutexLock lock(&mutex);
      Want(memory.get(), blocks);
      while (memory->accounts().TopUp(kDecode) < blocks) kept.Wait(&mutex);
      ASSERT_TRUE(table.TryExtendTo(blocks * geometry.block_tokens()));
      ticket = memory->readers().Submit(reader);
    }
    for (const int32_t index : table.indices()) {
      memory->base()[int64_t{index} * 1024] = static_cast<uint8_t>(round);
    }
    for (const int32_t index : table.indices()) {
      ASSERT_EQ(memory->base()[int64_t{index} * 1024], static_cast<uint8_t>(round));
      ++written;
    }
    base::MutexLock lock(&mutex);
    memory->readers().Complete(reader, ticket);
    table.ShrinkTo(0);
    memory->CloseWindow(kDecode);
  }
  stop = true;
  keeping.join();
  EXPECT_GT(written, 300);
  EXPECT_TRUE(keeper.Shutdown().ok());
  EXPECT_EQ(memory->held_bytes(), 0);
}

}  // namespace
}  // namespace ebb::memory
