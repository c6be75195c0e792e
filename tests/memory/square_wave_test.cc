// Demand that swings: how often pages are given back only to be taken again.

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "base/clock_fake.h"
#include "base/mutex.h"
#include "device/vmm_fake.h"
#include "memory/kv_memory.h"
#include "memory/page_keeper.h"

namespace ebb::memory {
namespace {

constexpr AccountId kDecode = AccountId::kDecode;
constexpr int64_t kPage = 8192;  // 4 blocks of 16 tokens.
constexpr int64_t kHighPages = 7;
constexpr int64_t kLowPages = 2;

// The most flips of any minute, while windows of 250 ms want now many pages, now few. Two windows
// and a second of too much go by before a page is given back.
int64_t MostFlips(int64_t half_ms) {
  device::FakeVmm::Options device;
  device.granularity_bytes = 4096;
  device.capacity_bytes = 100 * kPage;
  device::FakeVmm vmm(device);
  base::FakeClock clock;
  base::Mutex mutex;
  KvMemory::Options options;
  options.ceiling_bytes = options.limit_bytes = 10 * kPage;
  options.shrink.windows_kept = 2;
  options.shrink.after = absl::Seconds(1);
  const KvGeometry geometry = KvGeometry::Create({2, 16, 1024}, 4096, 4).value();
  EXPECT_EQ(geometry.page_bytes(), kPage);
  const std::unique_ptr<KvMemory> memory = KvMemory::Create(geometry, options, &vmm).value();
  PageKeeper keeper(PageKeeper::Options{4}, memory.get(), &vmm, &clock, &mutex);
  const auto settle = [&keeper] {
    while (keeper.RunOnce().progressed) continue;
  };
  int64_t most = 0;
  bool high = true;
  for (const absl::Time end = clock.Now() + absl::Minutes(2); clock.Now() < end; high = !high) {
    for (int64_t ms = 0; ms < half_ms; ms += 250) {
      WindowPlan plan;
      plan.grant_blocks = 4 * (high ? kHighPages : kLowPages);
      memory->OpenWindow(kDecode, plan);
      settle();
      clock.Advance(absl::Milliseconds(std::min<int64_t>(250, half_ms - ms)));
      settle();
    }
    most = std::max(most, memory->flips().FlipsOfLastMinute(clock.Now()));
  }
  memory->CloseWindow(kDecode);
  EXPECT_TRUE(keeper.Shutdown().ok());
  return most;
}

TEST(SquareWaveTest, WavesShorterThanTheHysteresisFlipNothing) {
  for (const int64_t half_ms : {50, 200, 500, 900}) EXPECT_EQ(MostFlips(half_ms), 0) << half_ms;
}

TEST(SquareWaveTest, LongerOnesFlipNoMoreThanTheirPages) {
  for (const int64_t half_ms : {2000, 5000, 15'000}) {
    const int64_t waves_per_minute = 60'000 / (2 * half_ms) + 1;
    const int64_t flips = MostFlips(half_ms);
    EXPECT_LE(flips, (kHighPages - kLowPages) * waves_per_minute) << half_ms;
    EXPECT_GE(flips, kHighPages - kLowPages) << "nothing swings: this shows nothing";
  }
}

}  // namespace
}  // namespace ebb::memory
