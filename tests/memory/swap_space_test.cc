#include "memory/swap_space.h"

#include <algorithm>
#include <set>
#include <vector>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "tests/memory/memory_checker.h"
#include "tests/memory/seed.h"

namespace ebb::memory {
namespace {

constexpr absl::Time kStart = absl::UnixEpoch();

SwapSpace::Options Small() {
  SwapSpace::Options options;
  options.bytes_max = 1050;  // Ten slots and a half.
  options.slot_bytes = 100;
  options.chunk_bytes = 450;  // Four slots.
  options.idle_after = absl::Seconds(1);
  return options;
}

TEST(SwapSpaceTest, HoldsWholeSlotsWithinItsBytes) {
  SwapSpace space(Small());
  EXPECT_EQ(space.slot_count(), 10);
  EXPECT_EQ(space.ChunkBytes(0), 400);
  EXPECT_EQ(space.ChunkBytes(2), 200);
  EXPECT_EQ(space.held_bytes(), 0);
  EXPECT_FALSE(space.TryTake(11).has_value());
  EXPECT_EQ(space.free_slots(), 10);
  EXPECT_EQ(space.TryTake(10)->size(), 10u);
  EXPECT_FALSE(space.TryTake(1).has_value());
}

TEST(SwapSpaceTest, WithoutBytesThereIsNothingToTake) {
  SwapSpace::Options options = Small();
  options.bytes_max = 99;
  SwapSpace space(options);
  EXPECT_EQ(space.slot_count(), 0);
  EXPECT_FALSE(space.TryTake(1).has_value());
  EXPECT_EQ(space.NextDrop(), absl::InfiniteFuture());
}

TEST(SwapSpaceTest, TakesFromChunksThatAreThereFirst) {
  SwapSpace space(Small());
  space.NoteAdded(1, kStart);
  const std::vector<SlotId> slots = *space.TryTake(5);
  EXPECT_EQ(slots, (std::vector<SlotId>{4, 5, 6, 7, 0}));
  EXPECT_FALSE(space.IsThere(space.ChunkOf(slots[4])));
}

TEST(SwapSpaceTest, AnEmptyChunkGoesWhenItIsIdle) {
  SwapSpace space(Small());
  for (const int32_t chunk : {0, 1}) space.NoteAdded(chunk, kStart);
  const std::vector<SlotId> slots = *space.TryTake(5);
  space.Return(absl::MakeConstSpan(slots).subspan(4), kStart + absl::Seconds(5));
  EXPECT_EQ(space.NextDrop(), kStart + absl::Seconds(6));
  EXPECT_EQ(space.ChunkToDrop(kStart + absl::Milliseconds(5999)), std::nullopt);
  EXPECT_EQ(space.ChunkToDrop(kStart + absl::Seconds(6)), 1);
  space.NoteDropped(1);
  EXPECT_EQ(space.held_bytes(), 400);
  EXPECT_EQ(space.NextDrop(), absl::InfiniteFuture());
}

TEST(SwapSpaceDeathTest, ASlotIsGivenBackOnce) {
  SwapSpace space(Small());
  const std::vector<SlotId> slots = *space.TryTake(1);
  space.Return(slots, kStart);
  EXPECT_DEATH(space.Return(slots, kStart), "given back twice");
}

// Against a set of the slots that are taken.
TEST(SwapSpaceTest, RandomTakesAndReturns) {
  const uint64_t seed = TestSeed(71);
  base::Rng rng(seed);
  for (int round = 0; round < 200; ++round) {
    SCOPED_TRACE(testing::Message() << "SEED=" << seed << " round " << round);
    SwapSpace::Options options = Small();
    options.bytes_max = rng.Between(0, 5000);
    options.slot_bytes = rng.Between(1, 200);
    options.chunk_bytes = rng.Between(0, 1000);
    SwapSpace space(options);
    std::vector<std::vector<SlotId>> owners;
    std::set<SlotId> taken;
    absl::Time now = kStart;
    for (int step = 0; step < 100; ++step) {
      now += absl::Milliseconds(rng.Between(0, 500));
      if (rng.Chance(0.5)) {
        const int32_t count = static_cast<int32_t>(rng.Between(1, 20));
        const int32_t free = space.slot_count() - static_cast<int32_t>(taken.size());
        const auto slots = space.TryTake(count);
        ASSERT_EQ(slots.has_value(), count <= free);
        if (!slots.has_value()) continue;
        ASSERT_EQ(static_cast<int32_t>(slots->size()), count);
        for (const SlotId slot : *slots) {
          ASSERT_TRUE(slot >= 0 && slot < space.slot_count());
          ASSERT_TRUE(taken.insert(slot).second) << "taken twice";
          const int32_t chunk = space.ChunkOf(slot);
          if (!space.IsThere(chunk) && rng.Chance(0.9)) space.NoteAdded(chunk, now);
        }
        owners.push_back(*slots);
      } else if (!owners.empty()) {
        const size_t at =
            static_cast<size_t>(rng.Between(0, static_cast<int64_t>(owners.size()) - 1));
        for (const SlotId slot : owners[at]) taken.erase(slot);
        space.Return(owners[at], now);
        owners.erase(owners.begin() + static_cast<int64_t>(at));
      } else if (const auto chunk = space.ChunkToDrop(now); chunk.has_value()) {
        ASSERT_TRUE(std::none_of(taken.begin(), taken.end(),
                                 [&](SlotId slot) { return space.ChunkOf(slot) == *chunk; }));
        space.NoteDropped(*chunk);
      }
      ASSERT_EQ(space.used_slots(), static_cast<int32_t>(taken.size()));
      ASSERT_EQ(FirstViolation(PictureOf(space, options.bytes_max, owners)), "");
    }
  }
}

}  // namespace
}  // namespace ebb::memory
